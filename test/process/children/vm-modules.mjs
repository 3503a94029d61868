// Loads the built package as Jest does with --experimental-vm-modules: every file is a module of a bare context,
// whose Error, arrays and Promise are of another realm than Node's.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';

/** What Jest hands in of Node; the classes of the language are the context's own. */
const names =
  'process Buffer URL TextDecoder AbortController AbortSignal performance structuredClone console';
const timers = 'setTimeout clearTimeout setImmediate queueMicrotask';
const context = vm.createContext(
  Object.fromEntries(`${names} ${timers}`.split(' ').map((name) => [name, globalThis[name]])),
);
const modules = new Map();

async function moduleOf(specifier, referrer) {
  const url = specifier.startsWith('.') ? new URL(specifier, referrer).href : import.meta.resolve(specifier);
  if (!modules.has(url))
    modules.set(url, specifier.startsWith('.') ? await ownModule(url) : await given(url));
  return modules.get(url);
}
const importModuleDynamically = async (specifier, { identifier }) => {
  const module = await moduleOf(specifier, identifier);
  if (module.status === 'unlinked') await module.link(link);
  await module.evaluate();
  return module;
};
const ownModule = async (url) =>
  new vm.SourceTextModule(readFileSync(fileURLToPath(url), 'utf8'), {
    context,
    identifier: url,
    importModuleDynamically,
    initializeImportMeta: (meta) => {
      meta.url = url;
    },
  });
/** Node's own modules and other packages come from outside. */
async function given(url) {
  const exports = await import(url);
  const names = Object.keys(exports);
  const fill = function () {
    for (const name of names) this.setExport(name, exports[name]);
  };
  return new vm.SyntheticModule(names, fill, { context, identifier: url });
}
const link = (specifier, { identifier }) => moduleOf(specifier, identifier);

const index = await ownModule(new URL('../../../dist/index.js', import.meta.url).href);
modules.set(index.identifier, index);
await index.link(link);
await index.evaluate();
const api = index.namespace;
const inside = (code) => vm.runInContext(code, context);

const codeOf = (promise) =>
  promise.then(
    () => 'no error',
    (error) => `${error instanceof api.PixelCnnError} ${error.code}`,
  );
const device = await api.openDevice({ backend: 'cpu', threads: 1 });
const model = await api.PixelCNN.create(device, { levels: 2, hiddenChannels: 4, layers: 2, kernelSize: 3 });
const images = { count: 1, height: 4, width: 4, channels: 1 };
const nats = async (data) => (await model.logLikelihood({ ...images, data })).nats[0];
const closed = await api.openDevice({ backend: 'cpu', threads: 1 });
const dead = await api.PixelCNN.create(closed, { levels: 2, hiddenChannels: 4, layers: 2 });
const running = codeOf(dead.sample({ count: 64, height: 32, width: 32 }));
await closed.dispose();
console.log(
  JSON.stringify({
    otherRealm:
      new Error('x') instanceof inside('Error') || new Uint8Array(1) instanceof inside('Uint8Array'),
    path: await codeOf(api.loadImages('/no/such/path')),
    model: await codeOf(api.PixelCNN.load(device, '/no/such/model')),
    save: await codeOf(model.save('/no/such/folder/model')),
    gpu: await codeOf(api.openDevice({ backend: 'cuda', index: 1000 })),
    disposed: await running,
    shared: await codeOf(nats(new Uint8Array(new SharedArrayBuffer(16)))),
    same: (await nats(inside('new Uint8Array(16)'))) === (await nats(new Uint8Array(16))),
    uniforms: (await model.sample({ height: 2, width: 2, uniforms: inside('new Float32Array(4)') })).count,
    aborted: await model.sample({ height: 2, width: 2, signal: AbortSignal.abort('enough') }).catch(String),
  }),
);
await device.dispose();

// Counts a child's calls of node:fs/promises on files of one folder and lets one of them fail. It is loaded with
// --import before the child's script. PIXELCNN_FAULT is JSON: { folder, mode, at?, code? }, see the modes below.

import { appendFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

const fault = JSON.parse(process.env.PIXELCNN_FAULT);
const die = () => process.kill(process.pid, 'SIGKILL');
const isCheckpoint = (path) => String(path).includes('.safetensors');
let calls = 0;
let saves = 0;
let callsOfSave = 0;

/** Says what a call is to do instead of its work, if anything. */
function plan(name, path) {
  if (!String(path).startsWith(fault.folder)) return 'work';
  const index = calls++;
  if (name === 'realpath') {
    saves += 1;
    callsOfSave = 0;
  }
  const ofSave = callsOfSave++;
  switch (fault.mode) {
    // Writes the name of every call to the file `log`.
    case 'record':
      appendFileSync(fault.log, `${name}\n`);
      return 'work';
    // Call `at` ends the process: a write after half of its bytes, every other call before it does anything.
    case 'kill':
      return index === fault.at ? 'die' : 'work';
    // Every second save fails, each at a later call than the one before, until all have failed once.
    case 'fail':
      return saves % 2 === 1 && ofSave === (saves - 1) / 2 ? 'fail' : 'work';
    // No write succeeds.
    case 'full':
      return name === 'write' ? 'fail' : 'work';
    // Planted: files are written in place, not beside it.
    case 'in-place':
      return name === 'rename' && isCheckpoint(path) ? 'skip' : 'work';
    // Planted: the writer does not wait for the rename.
    case 'early':
      return name === 'rename' && isCheckpoint(path) ? 'late' : 'work';
    default:
      throw new Error(`unknown mode ${fault.mode}`);
  }
}

function failure(name) {
  const text = `${fault.code}: injected in ${name}`;
  return Object.assign(new Error(text), { code: fault.code, syscall: name });
}

async function perform(name, path, work) {
  switch (plan(name, path)) {
    case 'die':
      return die();
    case 'fail':
      if (name === 'close') await work(); // the descriptor is gone even then
      throw failure(name);
    case 'skip':
      return undefined;
    case 'late':
      setTimeout(work, 40);
      return undefined;
    default:
      return work();
  }
}

function wrapHandle(handle, path) {
  for (const name of ['stat', 'chmod', 'sync', 'datasync', 'close', 'read']) {
    const original = handle[name].bind(handle);
    handle[name] = (...args) => perform(name, path, () => original(...args));
  }
  const write = handle.write.bind(handle);
  handle.write = async (bytes, offset, length, position) => {
    const todo = plan('write', path);
    if (todo === 'die') {
      await write(bytes, offset, Math.floor(length / 2), position);
      die();
    }
    if (todo === 'fail') {
      await write(bytes, offset, Math.floor(length / 2), position);
      throw failure('write');
    }
    if (fault.mode === 'in-place' && isCheckpoint(path)) {
      // Slow enough for a kill to hit it.
      await write(bytes, offset, Math.floor(length / 2), position);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return write(bytes, offset, length, position);
  };
  return handle;
}

const open = fs.open;
fs.open = (path, flags, mode) =>
  perform('open', path, async () => {
    const inPlace = fault.mode === 'in-place' && flags === 'wx' && isCheckpoint(path);
    const target = inPlace ? String(path).replace(/\.tmp-.*/, '') : path;
    return wrapHandle(await open(target, inPlace ? 'w' : flags, mode), path);
  });
for (const name of [
  'copyFile',
  'link',
  'mkdir',
  'readdir',
  'readFile',
  'realpath',
  'rename',
  'rm',
  'stat',
  'unlink',
]) {
  const original = fs[name];
  fs[name] = (path, ...args) => perform(name, path, () => original(path, ...args));
}
const writeFile = fs.writeFile;
fs.writeFile = (path, ...args) => perform('writeFile', path, () => writeFile(path, ...args));
syncBuiltinESMExports();

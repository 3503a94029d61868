// Runs what a new user types into an empty folder: the commands of README.md, and npx without an installation.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { slowdown } from '../../test/helpers/slowdown.mjs';
import { root } from '../steps.mjs';
import { firstScreen, ownTraining } from './readme.mjs';
import { require, timeComplaint } from './rows.mjs';

/** Adds these rows. `work` is a folder for them, `env` the user's environment, `tarball` the packed package. */
export async function readerRows(rows, { work, env, tarball }) {
  const { decodePng } = await import('../../dist/index.js');
  /** Adds a row that must write a picture, and one for its time: `seconds` on an idle machine. */
  const row = async (name, { commands, picture, files = {}, seconds, check = () => {} }) => {
    const folder = `${work}/reader-${name.replace(/\W+/g, '-')}`;
    mkdirSync(folder);
    for (const [file, content] of Object.entries(files)) writeFileSync(`${folder}/${file}`, content);
    const command = commands.replace(/npm install pixelcnn\b/, `npm install ${tarball}`);
    const before = await slowdown(1000);
    const took = rows.run(name, {
      ...{ folder, env, command },
      check: () => {
        const image = decodePng(readFileSync(`${folder}/${picture}`));
        require(new Set(image.data).size > 1, `${picture} is all of one colour`);
        check(image);
      },
    });
    const after = await slowdown(1000);
    const slowdowns = `slowed down ${before.toFixed(2)} and ${after.toFixed(2)} times by other programs`;
    const complaint = timeComplaint(took, seconds * Math.max(before, after));
    rows.record(`${name}: within ${seconds} s of an idle machine (${slowdowns})`, complaint);
  };

  await row('npx, from an empty folder to sevens', {
    commands: `npx --yes --package ${tarball} pixelcnn sample digits --label 7 --out seven.png`,
    picture: 'seven.png',
    seconds: 15,
  });

  const first = firstScreen();
  const other = await otherKernels();
  const isShown = (image) => {
    const shown = decodePng(readFileSync(`${root}docs/${first.picture}`));
    require(Buffer.compare(image.data, shown.data) === 0, `${first.picture} is not the picture in docs/`);
  };
  await row('README, the first screen', { ...first, seconds: 30, ...(other ? {} : { check: isShown }) });
  if (other !== undefined) rows.skip('README, the picture of the first screen', other);

  const { program, file, ...own } = ownTraining();
  await row('README, training one’s own', { ...own, files: { [file]: program }, seconds: 180 });
}

/**
 * Says which kernels this machine has, if they are not those that drew the pictures of the documentation: others may add in
 * another order, and draw another pixel now and then.
 */
async function otherKernels() {
  const { openDevice } = await import('../../dist/index.js');
  const device = await openDevice();
  const { backend, instructionSet } = device.info;
  await device.dispose();
  const isSame = backend === 'cpu' && instructionSet === 'avx512';
  return isSame ? undefined : `it was drawn with avx512, this machine has ${instructionSet}`;
}

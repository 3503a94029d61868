// Reads from README.md what it asks a new user to type: the commands of its installation, and the program they run.
import { readFileSync } from 'node:fs';
import { root } from '../steps.mjs';

const text = readFileSync(`${root}README.md`, 'utf8');

/** Returns the first block of code in this language whose text matches. */
function block(language, content) {
  const blocks = [...text.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, 'g'))].map(
    ([, code]) => code,
  );
  const found = blocks.find((code) => content.test(code));
  if (found === undefined) throw new Error(`README.md has no block of ${language} with ${content}`);
  return found;
}

/** Returns the commands of the first screen, and the PNG that they write. */
export function firstScreen() {
  const commands = block('sh', /npm install pixelcnn\n/);
  const picture = /--out (\S+\.png)/.exec(commands)?.[1];
  if (picture === undefined) throw new Error('the first commands of README.md write no PNG');
  return { commands, picture };
}

/** Returns the `commands` that train one's own model, the `program` to be saved as `file`, and the PNG that it writes. */
export function ownTraining() {
  const commands = block('sh', /node \S+\.mjs/);
  const program = block('js', /from 'pixelcnn'/);
  const file = /node (\S+\.mjs)/.exec(commands)?.[1];
  const picture = /'(\S+\.png)'/.exec(program)?.[1];
  if (picture === undefined) throw new Error('the program of README.md writes no PNG');
  return { commands, program, file, picture };
}

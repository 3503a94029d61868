// Reads from README.md what it asks a new user to type: the commands of its installation, and the program they run.
import { readFileSync } from 'node:fs';
import { root } from '../steps.mjs';

/** Returns `commands` for a shell, `program` to be saved as `file`, and `picture`, the PNG that it writes. */
export function readmeSteps() {
  const text = readFileSync(`${root}README.md`, 'utf8');
  const block = (language, content) => {
    const blocks = [...text.matchAll(new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``, 'g'))].map(
      ([, code]) => code,
    );
    const found = blocks.find((code) => content.test(code));
    if (found === undefined) throw new Error(`README.md has no block of ${language} with ${content}`);
    return found;
  };
  const commands = block('sh', /npm install pixelcnn/);
  const program = block('js', /from 'pixelcnn'/);
  const file = /node (\S+\.mjs)/.exec(commands)?.[1];
  const picture = /'(\S+\.png)'/.exec(program)?.[1];
  if (file === undefined || picture === undefined)
    throw new Error('README.md names no program to run, or its program writes no PNG');
  return { commands, program, file, picture };
}

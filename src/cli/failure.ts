// Prints errors for the user (what happened, what to do, the code) and chooses the exit code.
import { PixelCnnError } from '../errors.js';
import { type OutputLoss, stderr } from './output-stream.js';
import { paint } from './terminal.js';

/** Reports a wrong command line; its exit code is 2. */
export class UsageError extends PixelCnnError {
  constructor(message: string, command?: string, options: { remedy?: string; cause?: unknown } = {}) {
    const help = command === undefined ? 'pixelcnn --help' : `pixelcnn ${command} --help`;
    super('ERR_USAGE', message, { remedy: `\`${help}\` lists what there is`, ...options });
  }
}

const issues = 'the project, with this text and the output of `npx pixelcnn doctor`';

/**
 * Prints the error on stderr and returns the exit code: 2 for a wrong command line, 1 for everything else.
 * `reword` replaces the library's names of options by flags.
 */
export function reportFailure(error: unknown, reword: (text: string) => string): 1 | 2 {
  const paintError = (style: Parameters<typeof paint>[1], text: string) => paint(process.stderr, style, text);
  const write = (line: string) => stderr.write(`${line}\n`);
  const known = error instanceof PixelCnnError || isSystemError(error);
  const message = reword(error instanceof Error ? error.message : String(error));
  write(`${paintError(['red', 'bold'], 'error:')} ${message}`);
  if (error instanceof PixelCnnError && error.remedy !== undefined)
    write(`  ${paintError('green', 'fix:')} ${reword(error.remedy)}`);
  if (known) write(`  ${paintError('dim', String(error.code))}`);
  else write(`  this is a bug in pixelcnn: please report it to ${issues}`);
  if (error instanceof Error && (!known || process.env.PIXELCNN_DEBUG === '1'))
    write(paintError('dim', stackOf(error)));
  return error instanceof UsageError ? 2 : 1;
}

/** Exit code if all went well, except that output did not reach its reader: EX_IOERR of sysexits.h. */
const lostOutputCode = 74;

/** Prints on stderr, if that still works, which output was lost, followed by `rest`. Returns the exit code. */
export function reportLostOutput(losses: readonly OutputLoss[], rest: string): typeof lostOutputCode {
  const sentences = losses.map(({ sentence }) => sentence).join('; ');
  const error = paint(process.stderr, ['red', 'bold'], 'error:');
  stderr.write(`${error} ${sentences}${rest}\n`);
  return lostOutputCode;
}

/** Whether an error comes from the operating system (e.g. a missing file), so that it is no bug in pixelcnn. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string';
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : '';
  return `${error.stack ?? String(error)}${cause}`;
}

// Errors as a person reads them: what happened, what to do, the code; and the exit code.
import { PixelCnnError } from '../errors.js';
import { type OutputLoss, stderr } from './output-stream.js';
import { paint } from './terminal.js';

/** The command line is wrong; exit code 2. */
export class UsageError extends PixelCnnError {
  constructor(message: string, command?: string, options: { remedy?: string; cause?: unknown } = {}) {
    const help = command === undefined ? 'pixelcnn --help' : `pixelcnn ${command} --help`;
    super('ERR_USAGE', message, { remedy: `\`${help}\` lists what there is`, ...options });
  }
}

const issues = 'the project, with this text and the output of `npx pixelcnn doctor`';

/**
 * Prints the error on stderr and returns the exit code: 2 for a wrong command line, 1 for everything else. `worded` turns
 * names of options into those of the command.
 */
export function reportFailure(error: unknown, worded: (text: string) => string): 1 | 2 {
  const paintError = (style: Parameters<typeof paint>[1], text: string) => paint(process.stderr, style, text);
  const write = (line: string) => stderr.write(`${line}\n`);
  const known = error instanceof PixelCnnError || isSystemError(error);
  const message = worded(error instanceof Error ? error.message : String(error));
  write(`${paintError(['red', 'bold'], 'error:')} ${message}`);
  if (error instanceof PixelCnnError && error.remedy !== undefined)
    write(`  ${paintError('green', 'fix:')} ${worded(error.remedy)}`);
  if (known) write(`  ${paintError('dim', String(error.code))}`);
  else write(`  this is a bug in pixelcnn: please report it to ${issues}`);
  if (error instanceof Error && (!known || process.env.PIXELCNN_DEBUG === '1'))
    write(paintError('dim', stackOf(error)));
  return error instanceof UsageError ? 2 : 1;
}

/** All went well but for output that did not arrive: EX_IOERR of sysexits.h. */
const lostOutputCode = 74;

/** Says on stderr, where that is possible, what did not arrive, and `rest`. Returns the exit code. */
export function reportLostOutput(losses: readonly OutputLoss[], rest: string): typeof lostOutputCode {
  const sentences = losses.map(({ sentence }) => sentence).join('; ');
  const error = paint(process.stderr, ['red', 'bold'], 'error:');
  stderr.write(`${error} ${sentences}${rest}\n`);
  return lostOutputCode;
}

/** An error of the operating system, e.g. a file that is not there: nothing to report as a bug. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string';
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : '';
  return `${error.stack ?? String(error)}${cause}`;
}

#!/usr/bin/env node
// Starts the command line: finds the command, runs it, and turns errors into messages and exit codes.
import { constants } from 'node:os';
import { didYouMean } from '../suggestion.js';
import { packageVersion } from '../version.js';
import { type Command, runCommand } from './command.js';
import { benchCommand } from './commands/bench.js';
import { buildCommand } from './commands/build.js';
import { classifyCommand } from './commands/classify.js';
import { completeCommand } from './commands/complete.js';
import { doctorCommand } from './commands/doctor.js';
import { evaluateCommand } from './commands/evaluate.js';
import { inspectCommand } from './commands/inspect.js';
import { sampleCommand } from './commands/sample.js';
import { trainCommand } from './commands/train.js';
import { Interrupted } from './common.js';
import { reportFailure, reportLostOutput, UsageError } from './failure.js';
import { commandHelp, errorText, generalHelp } from './help.js';
import { leaveLostTerminals, stderr, stdout } from './output-stream.js';

const commands = [
  trainCommand,
  sampleCommand,
  completeCommand,
  evaluateCommand,
  classifyCommand,
  inspectCommand,
  doctorCommand,
  benchCommand,
  buildCommand,
] as readonly Command[];

/** The command that runs or has run; undefined if only its help is shown. */
let running: Command | undefined;

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  const print = (text: string) => stdout.write(`${text}\n`);
  if (name === undefined || name === '--help' || name === '-h' || (name === 'help' && rest.length === 0)) {
    print(generalHelp(commands, packageVersion()));
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === '-v') {
    print(packageVersion());
    return 0;
  }
  const wanted = name === 'help' ? rest[0]! : name;
  const command = commands.find((candidate) => candidate.name === wanted);
  if (command === undefined) {
    const names = commands.map((candidate) => candidate.name);
    throw new UsageError(`unknown command '${wanted}'${didYouMean(wanted, names)}`);
  }
  running = command;
  const code = name === 'help' ? undefined : await runCommand(command, rest);
  if (code !== undefined) return code;
  running = undefined;
  print(commandHelp(command));
  return 0;
}

/** Returns `code`, or another exit code if all went well but output did not reach its reader. */
async function exitCode(code: number): Promise<number> {
  await stdout.flush();
  await stderr.flush();
  // A reader that leaves early is an error only for a training run: `pixelcnn inspect … | head` is none.
  const run = running?.name === trainCommand.name;
  const losses = [stdout, stderr].flatMap(({ loss }) =>
    loss === undefined || (loss.code === 'EPIPE' && !run) ? [] : [loss],
  );
  if (code !== 0 || losses.length === 0) return code;
  return reportLostOutput(losses, run ? '; the run itself is complete' : '');
}

process.on('exit', leaveLostTerminals);

let code: number;
try {
  code = await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof Interrupted) {
    stderr.write(`${error.message}\n`);
    code = 128 + constants.signals[error.signalName];
  } else {
    code = reportFailure(error, (text) => errorText(text, running));
  }
}
process.exitCode = await exitCode(code);

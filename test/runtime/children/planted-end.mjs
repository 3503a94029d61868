// Ends for the exit matrix's judge: argv 2 says which; all but `well` it must notice.
const ends = {
  well: () => undefined,
  abort: () => process.abort(),
  complain: () => process.stderr.write('mutex lock failed\n'),
  'other code': () => process.exit(3),
};
process.stdout.write('leaving 0\n', ends[process.argv[2]]);

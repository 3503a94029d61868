// Ends the process group of a part when the process that runs the parts is gone, which closes our standard input.
// It watches in a separate thread, because the main thread may be in a native call.
import { Socket } from 'node:net';

new Socket({ fd: 0, readable: true, writable: false })
  .on('close', () => process.kill(-process.pid, 'SIGKILL'))
  .on('error', () => undefined)
  .resume();

// Ends the process group of a part when the process that runs the parts is gone: its end of our standard input closes.
// In a thread of its own, since the main one may be in a native call.
import { Socket } from 'node:net';

new Socket({ fd: 0, readable: true, writable: false })
  .on('close', () => process.kill(-process.pid, 'SIGKILL'))
  .on('error', () => undefined)
  .resume();

// Sends Ctrl-C to `pixelcnn train` the moment it listens for it, before its first step. It is loaded first.
import { StopRequest } from '../../../dist/cli/stop-request.js';

const { attach } = StopRequest.prototype;
StopRequest.prototype.attach = function (...args) {
  attach.apply(this, args);
  process.kill(process.pid, 'SIGINT');
};

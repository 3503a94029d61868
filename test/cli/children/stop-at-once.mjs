// Loaded before the command line: `pixelcnn train` gets Ctrl-C the moment it listens for it, before its first step.
import { StopRequest } from '../../../dist/cli/stop-request.js';

const { attach } = StopRequest.prototype;
StopRequest.prototype.attach = function (...args) {
  attach.apply(this, args);
  process.kill(process.pid, 'SIGINT');
};

// Draws in the thread that worker.mjs starts.
import { parentPort } from 'node:worker_threads';
import * as pixelcnn from 'pixelcnn';
import { draw } from './draw.mjs';

parentPort.postMessage(await draw(pixelcnn));

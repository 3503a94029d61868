// Uses the package as an ES module.
import * as pixelcnn from 'pixelcnn';
import { draw } from './draw.mjs';

console.log(JSON.stringify(await draw(pixelcnn)));

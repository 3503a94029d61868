// A consumer that is CommonJS: Node 20.19 and newer can require() ES modules.
const pixelcnn = require('pixelcnn');
const { draw } = require('./draw.mjs');

draw(pixelcnn).then((result) => console.log(JSON.stringify(result)));

// Imports the package of the folder given, then opens a device; prints what happened as JSON.
import { pathToFileURL } from 'node:url';

const { openDevice } = await import(pathToFileURL(`${process.argv[2]}/dist/index.js`).href);
try {
  const device = await openDevice({ backend: 'cpu' });
  await device.dispose();
  console.log(JSON.stringify({ opened: true }));
} catch ({ name, code, message, remedy }) {
  console.log(JSON.stringify({ name, code, message, remedy }));
}

// Makes a screenshot of the page with a completed digit. Usage: node examples/server/dist/check/screenshot.js OUT.png
import { launchChromium } from './chromium.js';
import { ServerProcess } from './server-process.js';

const [out, seed = '1', ...serverFlags] = process.argv.slice(2);
if (out === undefined)
  throw new Error('usage: node examples/server/dist/check/screenshot.js OUT.png [SEED] [server flags]');

await using server = await ServerProcess.start(['--port', '0', ...serverFlags]);
const browser = await launchChromium();
try {
  const page = await browser.newPage({ viewport: { width: 1180, height: 860 }, deviceScaleFactor: 1.5 });
  const done = (text: string) => page.locator('#status[data-state=done]', { hasText: text }).waitFor();
  await page.goto(`http://127.0.0.1:${server.port}/`);
  await done('drawn');
  await page.fill('#speed', '240');
  for (let i = 0; i < 7; i += 1) {
    await page.fill('#seed', String(Number(seed) + i));
    await page.click('#draw');
    await done(`drawn from seed ${Number(seed) + i}`);
  }
  await page.fill('#speed', '60');
  await page.click('#erase-lower');
  await page.click('#complete');
  await done('completed');
  await page.mouse.move(0, 0);
  await page.screenshot({ path: out, fullPage: true });
} finally {
  await browser.close();
}

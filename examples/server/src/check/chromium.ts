// Launches Debian's headless Chromium through playwright-core, with all its background requests disabled.
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const executable = '/usr/bin/chromium';

/** Whether Chromium is installed. */
export function hasChromium(): boolean {
  return existsSync(executable);
}

/**
 * Launches Chromium with an empty profile. It looks for no updates and sends no requests but those of the
 * page.
 */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: executable,
    args: [
      // The sandbox does not work for root, which is the user in containers.
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

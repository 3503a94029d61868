// Headless Chromium for looking at the page: Debian's own, driven by playwright-core, without a request of its own.
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const executable = '/usr/bin/chromium';

/** Whether there is a Chromium to launch. */
export function hasChromium(): boolean {
  return existsSync(executable);
}

/** Launches it with an empty profile; it looks nothing up and updates nothing. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: executable,
    args: [
      // Root, as in a container, cannot use the sandbox.
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

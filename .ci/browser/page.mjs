// A page from disk in headless Chromium. Set CHROMIUM to its path if it is not /usr/bin/chromium.

import { existsSync, mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"];
/** The screens on which pages are looked at. */
export const SCREENS = {
  desktop: { viewport: { width: 1440, height: 900 } },
  dark: { viewport: { width: 1440, height: 900 }, colorScheme: "dark" },
  phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
};

/** Ends the program with a message unless `holds`. */
export function check(holds, message) {
  if (!holds) {
    console.error(`FAILED: ${message}`);
    process.exit(1);
  }
}

/** Opens `file` on every screen in turn for `use(page, screen)`; an error on the console or a request to the
 *  network fails. */
export async function onScreens(file, screens, use) {
  check(existsSync(file), `there is no ${file}`);
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  const browser = await chromium.launch({ executablePath, args: FLAGS });
  for (const screen of screens) {
    const context = await browser.newContext({ ...SCREENS[screen], acceptDownloads: true });
    const page = await context.newPage();
    page.on("console", (message) => check(message.type() !== "error", `${screen}: console: ${message.text()}`));
    page.on("pageerror", (error) => check(false, `${screen}: ${error.stack}`));
    page.on("request", (request) => {
      check(/^(file|data|blob):/.test(request.url()), `${screen}: the page asks for ${request.url()}`);
    });
    await page.goto(pathToFileURL(resolve(file)).href);
    await use(page, screen);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    check(overflow <= 0, `${screen}: the page is ${overflow} pixels wider than the screen`);
    await context.close();
  }
  await browser.close();
}

/** A picture of what the page shows, in `folder`. */
export async function photograph(page, folder, name) {
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: resolve(folder, `${name}.png`) });
}

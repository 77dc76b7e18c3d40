// A run's report in a real browser: node report.mjs OUTPUT_FOLDER [FOLDER_FOR_SCREENSHOTS]
//
// Moves the slider by mouse and by keys, compares with the base, zooms into a curve, shows all settings.

import { join } from "node:path";
import { check, onScreens, photograph } from "./page.mjs";

const [folder, screenshots = "screenshots"] = process.argv.slice(2);
check(folder, "usage: node report.mjs OUTPUT_FOLDER [FOLDER_FOR_SCREENSHOTS]");

const sources = (page) => page.locator("#gallery .now").evaluateAll((all) => all.map((one) => one.src));

async function slide(page) {
  const last = await sources(page);
  check(last.length > 0 && last.every((source) => source.startsWith("data:image/")), "pictures are in the page");
  const slider = page.locator("#slider");
  await slider.scrollIntoViewIfNeeded();
  const box = await slider.boundingBox();
  await page.mouse.click(box.x + 4, box.y + box.height / 2);
  check(await page.locator("#at").textContent() === "0", "a click at the left end shows step 0");
  const first = await sources(page);
  check(first.every((source, i) => source !== last[i]), "every picture has changed");
  await page.locator("#title").click();
  const steps = Number(await slider.getAttribute("max"));
  for (let i = 0; i < steps; i += 1) await page.keyboard.press("ArrowRight");
  check(JSON.stringify(await sources(page)) === JSON.stringify(last), "the arrow keys lead to the last step");
}

async function compare(page) {
  const frame = page.locator("#gallery .frame").first();
  await page.getByText("beside the base").click();
  const [base, now] = [await frame.locator(".base").boundingBox(), await frame.locator(".now").boundingBox()];
  check(now.x >= base.x + base.width - 1, "base and picture are side by side");
  await page.getByText("wipe").click();
  await frame.scrollIntoViewIfNeeded();
  const box = await frame.boundingBox();
  await page.mouse.move(box.x + box.width / 4, box.y + box.height / 2);
  const clip = await frame.locator(".now").evaluate((one) => getComputedStyle(one).clipPath);
  check(/2[45](\.\d+)?%/.test(clip), `the wipe follows the pointer: ${clip}`);
  await page.getByText("now", { exact: true }).click();
}

async function readCurves(page) {
  const chart = page.locator(".chart").first();
  await chart.scrollIntoViewIfNeeded();
  check(await page.locator(".chart polyline").count() >= 3, "curves are drawn");
  const told = () => chart.locator("figcaption span").textContent();
  const [end, box] = [await told(), await chart.locator("svg").boundingBox()];
  const middle = box.y + box.height / 2;
  await page.mouse.move(box.x + 0.3 * box.width, middle);
  check(await told() !== end, "values are told where the pointer is");
  const labels = () => chart.locator("text").allTextContents();
  const before = JSON.stringify(await labels());
  await page.mouse.down();
  await page.mouse.move(box.x + 0.6 * box.width, middle, { steps: 4 });
  await page.mouse.up();
  check(JSON.stringify(await labels()) !== before, "dragging zooms");
  await page.mouse.dblclick(box.x + 0.5 * box.width, middle);
  await page.locator("#log").check();
  check(await page.locator(".chart polyline").count() >= 3, "curves are drawn on a logarithmic scale");
  await page.locator("#log").uncheck();
}

async function readSettings(page) {
  const rows = page.locator("#settings tbody tr");
  const changed = await rows.count();
  await page.locator("#all").check();
  check(await rows.count() > changed, "defaults can be shown");
}

await onScreens(join(folder, "report.html"), ["desktop", "dark", "phone"], async (page, screen) => {
  await photograph(page, screenshots, `report-${screen}`);
  await slide(page);
  if (screen !== "phone") {
    await compare(page);
    await readCurves(page);
  }
  await readSettings(page);
  await page.locator("#pictures").scrollIntoViewIfNeeded();
  await photograph(page, screenshots, `report-${screen}-used`);
});
console.log(`the report works; screenshots are in ${screenshots}`);

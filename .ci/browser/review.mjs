// The review sheet in a real browser: node review.mjs FOLDER_OF_CROPS [FOLDER_FOR_SCREENSHOTS]
//
// Drags a crop, pulls a corner, excludes a picture, changes a size by key, and reads what it downloads.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { check, onScreens, photograph } from "./page.mjs";

const [folder, screenshots = "screenshots"] = process.argv.slice(2);
check(folder, "usage: node review.mjs FOLDER_OF_CROPS [FOLDER_FOR_SCREENSHOTS]");
const record = JSON.parse(readFileSync(join(folder, "prepare.json"), "utf8"));
const byName = Object.fromEntries(record.pictures.map((picture) => [picture.source, picture]));

async function downloaded(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  check(download.suggestedFilename() === "overrides.json", "the file is called overrides.json");
  return JSON.parse(readFileSync(await download.path(), "utf8")).pictures;
}

/** The cards of the first three pictures that have a crop. */
async function threeCards(page) {
  const names = await page.locator(".card:not(.unmade):not(.out) .name").allTextContents();
  check(names.length >= 3, "three crops to try");
  const card = (name) => page.locator(".card").filter({ has: page.getByText(name, { exact: true }) });
  return names.slice(0, 3).map((name) => ({ name, card: card(name) }));
}

/** Moves one crop, excludes another picture, changes the size of a third; what is downloaded says so. */
async function edit(page) {
  const before = await downloaded(page);
  const [moved, excluded, resized] = await threeCards(page);
  await pullCorner(page, moved.card);
  await drag(page, moved.card);
  await excluded.card.locator(".skip").click();
  await resized.card.focus();
  await page.keyboard.press("s");
  const wishes = await downloaded(page);
  check(Object.keys(before).every((name) => name in wishes), "earlier wishes are kept");
  checkWindow(wishes[moved.name], byName[moved.name]);
  check(wishes[excluded.name].skip === true, `${excluded.name} is excluded`);
  check(wishes[resized.name].size !== sizeOf(byName[resized.name]), `${resized.name} has another size`);
  checkWindow(wishes[resized.name], byName[resized.name]);
  check(await page.locator("#changes").textContent() === "3", "three changes are counted");
  await page.reload();
  check(await page.locator("#changes").textContent() === "3", "changes outlive a reload");
}

const sizeOf = ({ size }) => `${size.width}x${size.height}`;

/** The window lies inside the picture, is another one than before, and has the shape of its size. */
function checkWindow({ window: [x, y, width, height], size }, { source, picture, box }) {
  const [across, down] = size.split("x").map(Number);
  const inside = x >= 0 && y >= 0 && x + width <= picture.width + 0.1 && y + height <= picture.height + 0.1;
  check(inside, `${source}: the window is inside`);
  check(Math.abs(width / height - across / down) < 0.01, `${source}: the window has the shape of ${size}`);
  const moved = Math.hypot(x - box.x, y - box.y, width - box.width, height - box.height);
  check(moved > 1, `${source}: the window has changed`);
}

async function pullCorner(page, card) {
  const corner = await card.locator(".corners circle").nth(2).boundingBox();
  const [x, y] = [corner.x + corner.width / 2, corner.y + corner.height / 2];
  await pull(page, [x, y], [x - 40, y - 40]);
}

async function drag(page, card) {
  const window = await card.locator(".window").boundingBox();
  const from = [window.x + window.width / 2, window.y + window.height / 2];
  await pull(page, from, [from[0] + 15, from[1] + 10]);
}

async function pull(page, from, to) {
  await page.mouse.move(...from);
  await page.mouse.down();
  await page.mouse.move((from[0] + to[0]) / 2, (from[1] + to[1]) / 2);
  await page.mouse.move(...to);
  await page.mouse.up();
}

/** Filters narrow the page, keys move through it, the large view opens. */
async function browse(page) {
  const all = await page.locator(".card").count();
  const expected = record.pictures.filter(({ state }) => state !== "vanished").length;
  check(all === Math.min(expected, 48), `${all} cards are shown`);
  for (const chip of await page.locator("#filters button").all()) {
    const count = Number(await chip.locator("span").textContent());
    await chip.click();
    check(await page.locator(".card").count() === Math.min(count, 48), `the filter shows ${count} cards`);
  }
  await page.locator("#filters button").first().click();
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  check(await page.locator(".card.active").count() === 1, "a key chooses a card");
  await page.keyboard.press("Enter");
  const image = page.locator("#large img");
  await page.waitForFunction(() => document.querySelector("#large img").naturalWidth > 0);
  check(await image.evaluate((one) => one.naturalWidth) > 100, "the crop is shown large");
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  check(await page.locator("#help").isVisible(), "help opens");
  await page.keyboard.press("Escape");
}

await onScreens(join(folder, "review.html"), ["desktop", "dark", "phone"], async (page, screen) => {
  check(await page.locator(".card .pixels").first().getAttribute("href") !== "", "small pictures are there");
  await photograph(page, screenshots, `review-${screen}`);
  await browse(page);
  if (screen !== "phone") {
    await edit(page);
    await photograph(page, screenshots, `review-${screen}-edited`);
  } else {
    await page.locator(".card").nth(1).scrollIntoViewIfNeeded();
    await photograph(page, screenshots, "review-phone-scrolled");
  }
});
console.log(`the review sheet works; screenshots are in ${screenshots}`);

/**
 * The Inspector in Chromium: with the keyboard only, on a phone, in dark mode, and as judged by axe.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, afterEach, test } from "node:test";
import { closeTabs, keepPicture, launch, openTab } from "../browser.mjs";
import { ACCESS_TOKEN, message, publish, start, tokenOf } from "../fixture.mjs";
import { events, openInspector, openPart, show, state } from "../inspector.mjs";

const server = await start({}, { vars: { INSPECTOR: "on" } });
after(() => server.dispose());
const browser = await launch();
after(() => browser.close());
afterEach(() => closeTabs(browser));

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true };
const VIEWS = ["Side by side", "Frames", "Timeline", "Metrics"];

/** axe's violations, as lines. */
async function violations(page) {
	await page.evaluate(AXE);
	const found = await page.evaluate(async () => (await globalThis.axe.run()).violations);
	return found.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")}: ${failureSummary}`));
}

/** A page that shows something of everything. */
async function openFull(options) {
	const page = await openInspector(browser, server, options);
	const [ada, mel] = page.sides;
	await show(page, "Connections");
	for (const side of [ada, mel]) for (const name of ["Why do I get nothing?", "Subscriptions", "Presence"]) await openPart(side, name);
	await ada.getByPlaceholder("room:1").fill("room:1");
	await ada.getByRole("form", { name: /^Subscribe to a topic/ }).getByRole("button").click();
	await mel.getByPlaceholder("claims").fill("claims");
	await mel.getByPlaceholder("status=eq.open").fill("no filter");
	await mel.getByRole("form", { name: /^Subscribe to a table/ }).getByRole("button").click();
	await mel.getByText("invalid_filter:").waitFor();
	await ada.getByRole("button", { name: "Track", exact: true }).click();
	await ada.getByText("the lobby: 1").waitFor();
	await show(page, "Publish");
	await page.getByRole("button", { name: "Publish", exact: true }).click();
	await page.locator("#receipt strong").waitFor();
	await show(page, "Events");
	await page.locator("#events > li").first().waitFor();
	await show(page, "Connections");
	await mel.getByRole("button", { name: "Disconnect" }).click();
	await state(mel, "closed");
	await show(page, "Events");
	return page;
}

for (const [name, options] of [
	["light", { colorScheme: "light" }],
	["dark", { colorScheme: "dark" }],
	["phone-light", { colorScheme: "light", ...PHONE }],
	["phone-dark", { colorScheme: "dark", ...PHONE }],
]) {
	test(`axe finds nothing, and nothing is wider than the page: ${name}`, async () => {
		const page = await openFull(options);
		await publish(server, message({ text: "long ".repeat(200), word: "long".repeat(200) }));
		for (const view of VIEWS) {
			await page.getByRole("tab", { name: view }).click();
			if (view === "Frames") await page.locator("#frames [role=option]").first().click();
			if (view === "Metrics") await page.getByRole("img", { name: /^Connections, the last \d+ seconds: now/ }).waitFor();
			assert.deepEqual(await violations(page), [], view);
			const { inner, scroll } = await page.evaluate(() => ({ inner: innerWidth, scroll: document.documentElement.scrollWidth }));
			assert.equal(scroll, inner, view);
			await page.locator("#watch").scrollIntoViewIfNeeded();
			await keepPicture(page, `inspector-${name}-${view.toLowerCase().replaceAll(" ", "-")}`);
		}
		for (const part of ["Publish", "Connections"]) {
			await show(page, part);
			assert.deepEqual(await violations(page), [], part);
			await page.evaluate(() => scrollTo(0, 0));
			await keepPicture(page, `inspector-${name}-${part.toLowerCase()}`);
		}
		});
}

test("before anything is connected axe finds nothing either", async () => {
	const page = await openTab(browser, { colorScheme: "dark" });
	await page.goto(server.url);
	await page.getByText("Publishing needs the service token.").waitFor();
	assert.deepEqual(await violations(page), []);
	await keepPicture(page, "inspector-empty");
});

test("with the keyboard alone one connects, publishes, reads a frame and unsubscribes", async () => {
	const page = await openTab(browser, { permissions: ["clipboard-read", "clipboard-write"] });
	await page.goto(server.url);
	const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
	/** Presses Tab until the focused element has this name. */
	const tabTo = async (name, key = "Tab") => {
		for (let count = 0; count < 120; count += 1) {
			await page.keyboard.press(key);
			const found = await page.evaluate((wanted) => {
				const { activeElement: active } = document;
				const texts = [active.getAttribute("aria-label"), active.labels?.[0]?.firstChild?.textContent, active.textContent];
				return texts.some((text) => text?.trim().replace(/\s+/g, " ").startsWith(wanted));
			}, name);
			if (found) return;
		}
		assert.fail(`Tab does not reach ${name}`);
	};
	await tabTo("Token or API key");
	await page.keyboard.insertText(tokenOf("kim", ["admin"]));
	await press("Enter");
	const side = page.getByRole("region", { name: "Connection A" });
	await state(side, "connected");
	await tabTo("Service token");
	await page.keyboard.insertText(ACCESS_TOKEN);
	await press("Enter");
	await tabTo("New row");
	await press("Control+Enter");
	await page.getByText("202 accepted: delivered to 1").waitFor();
	await tabTo("Side by side");
	await press("ArrowRight");
	assert.equal(await page.getByRole("tab", { name: "Frames" }).getAttribute("aria-selected"), "true");
	await tabTo("Frames: arrow keys");
	await press("End");
	await page.locator("#frame-title", { hasText: "postgres_changes" }).waitFor();
	const active = await page.locator("#frames[aria-activedescendant]").getAttribute("aria-activedescendant");
	assert.equal(await page.locator(`#${active}`).getAttribute("aria-selected"), "true");
	await press("c");
	await page.getByText("Copied the frame.").waitFor();
	assert.equal(JSON.parse(await page.evaluate(() => navigator.clipboard.readText())).table, "employees");
	await press("Home");
	await page.locator("#frame-title", { hasText: "#1 opening" }).waitFor();
	for (const _ of ["B", "A"]) await tabTo("Details", "Shift+Tab");
	await press("Enter");
	await tabTo("Subscriptions");
	await press("Enter");
	await tabTo("Table");
	await page.keyboard.insertText("claims");
	await press("Enter");
	await side.locator("li", { hasText: "all changes of public.claims" }).getByText("active").waitFor();
	await tabTo("Remove all changes of public.claims", "Shift+Tab");
	// New events do not take the focus away.
	await publish(server, message(1));
	await events({ sides: [side] }, 2);
	await press("Enter");
	await side.locator("li", { hasText: "every change" }).waitFor();
});

test("what is focused can be seen", async () => {
	const page = await openInspector(browser, server);
	for (const target of [page.getByRole("tab", { name: "Frames" }), page.getByLabel("New row"), page.getByText("Why do I get nothing?").first(), page.getByRole("link", { name: "Skip to the events" })]) {
		await page.keyboard.press("Tab");
		await target.focus();
		const { outlineStyle, outlineWidth } = await target.evaluate((element) => {
			const { outlineStyle, outlineWidth } = getComputedStyle(element);
			return { outlineStyle, outlineWidth };
		});
		assert.equal(`${outlineStyle} ${outlineWidth}`, "solid 2px", String(target));
	}
});

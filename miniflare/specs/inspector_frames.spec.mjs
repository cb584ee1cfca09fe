/**
 * The Inspector in Chromium: frames, and connections that break.
 */
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { closeTabs, keepPicture, launch } from "../browser.mjs";
import { insert, message, publish, start } from "../fixture.mjs";
import { compared, events, fact, openFindings, openInspector, state } from "../inspector.mjs";

const server = await start({ limits: { publicationsPerSecond: 100_000 } }, { vars: { INSPECTOR: "on" } });
after(() => server.dispose());
const browser = await launch();
after(() => browser.close());
afterEach(() => closeTabs(browser));

const ROWS = "#frames [role=option]";
/** How many frames a side receives in the spec of long lists. */
const MANY = 2_500;

async function openFrames(options) {
	const page = await openInspector(browser, server, options);
	await page.getByRole("tab", { name: "Frames" }).click();
	return page;
}

/** Waits until the line below the search shows this count. */
const shown = (page, count) => page.locator("#frame-count", { hasText: new RegExp(`^${count} of `) }).waitFor();

const clipboard = (page) => page.evaluate(() => navigator.clipboard.readText());

test("frames are searched, chosen by kind and connection, and copied", async () => {
	const page = await openFrames({ permissions: ["clipboard-read", "clipboard-write"] });
	await publish(server, { messages: [message("needle in a haystack"), insert("claims", { id: 1 })] });
	await events(page, 2);
	await page.getByLabel("Search").fill("NEEDLE");
	await shown(page, 2);
	await page.getByLabel("Connection", { exact: false }).and(page.locator("#frame-filter select")).selectOption("B");
	await shown(page, 1);
	await page.locator(`${ROWS}[aria-setsize="1"]`).click();
	assert.equal(JSON.parse(await page.locator("#frame-json").innerText()).payload, "needle in a haystack");
	await page.locator("#copy-frame").click();
	await page.getByText("Copied the frame.").waitFor();
	assert.equal(JSON.parse(await clipboard(page)).payload, "needle in a haystack");
	await page.getByLabel("Search").fill("");
	await page.getByRole("combobox", { name: "Kind" }).selectOption("event");
	await shown(page, 2);
	await page.getByRole("button", { name: "Copy all shown" }).click();
	await page.getByText("Copied 2 frames, one a line.").waitFor();
	assert.deepEqual((await clipboard(page)).split("\n").map((line) => JSON.parse(line).type), ["broadcast", "postgres_changes"]);
	assert.deepEqual(page.complaints, []);
});

test("a paused list stands still while frames go on being kept", async () => {
	const page = await openFrames();
	await page.getByRole("combobox", { name: "Kind" }).selectOption("event");
	await publish(server, message(1));
	await shown(page, 2);
	await page.getByRole("button", { name: "Pause" }).click();
	await publish(server, message(2));
	await page.getByRole("button", { name: "Resume (2 new)" }).waitFor();
	assert.equal(await page.locator(ROWS).count(), 2);
	await page.getByRole("button", { name: "Resume (2 new)" }).click();
	await shown(page, 4);
	await page.locator("#clear-frames").click();
	await shown(page, 0);
});

test("of thousands of frames only those in view are in the document", async () => {
	const page = await openFrames();
	for (let sent = 0; sent < MANY; sent += 100) {
		await publish(server, { messages: Array.from({ length: 100 }, (_, index) => message({ number: sent + index + 1 })) });
	}
	await events(page, MANY);
	await page.getByRole("combobox", { name: "Kind" }).selectOption("event");
	await shown(page, 2 * MANY);
	await page.locator(ROWS, { hasText: `@` }).first().waitFor();
	assert.ok((await page.locator(ROWS).count()) < 60);
	assert.ok((await page.locator("#events > li").count()) <= 30);
	assert.ok((await page.evaluate(() => document.querySelectorAll("*").length)) < 2_000);
	// It follows the newest until the user scrolls away, and again on request.
	const last = page.locator(`${ROWS}[aria-posinset="${2 * MANY}"]`);
	await last.waitFor();
	await page.locator("#frames").evaluate((list) => (list.scrollTop = 0));
	await page.locator(`${ROWS}[aria-posinset="1"]`).waitFor();
	assert.equal(await last.count(), 0);
	await keepPicture(page, "inspector-frames-many");
	await page.getByRole("button", { name: "To the newest" }).click();
	await last.waitFor();
});

test("after an eviction that breaks the sockets both sides come back, and recover what was published meanwhile", async () => {
	const page = await openInspector(browser, server);
	const [ada, mel] = page.sides;
	await publish(server, insert("claims", { id: 1 }));
	await events(page, 1);
	await server.evict("org_1", "close");
	await publish(server, insert("claims", { id: 2, ssn: "123-45-6789" }, { maskingConfig: { ssn: { type: "ssn", show: { roles: ["admin"] } } } }));
	await events(page, 2);
	for (const side of [ada, mel]) {
		await state(side, "connected");
		assert.equal(await fact(side, "recovered"), "yes");
		assert.equal(await fact(side, "reconnects"), "1");
	}
	assert.deepEqual((await compared(page, "public.claims"))["ssn differs"], [`"123-45-6789"`, `"*****6789" masked`]);
	await page.getByRole("tab", { name: "Timeline" }).click();
	const timeline = page.locator("#timeline");
	assert.equal(await timeline.getByText("recovered: what was missed follows").count(), 2);
	assert.ok((await timeline.getByText(/^ended, disconnected: The connection ended \(1006\)/).count()) >= 2);
	await keepPicture(page, "inspector-recovery");
});

test("a connection that is dropped by hand comes back; one that is ended stays away until it is resumed", async () => {
	const page = await openInspector(browser, server);
	const [, mel] = page.sides;
	await mel.getByRole("button", { name: "Simulate a network drop" }).click();
	await mel.locator(".facts > div", { hasText: /^reconnects\s*1$/ }).waitFor();
	await state(mel, "connected");
	assert.equal(await fact(mel, "recovered"), "yes");
	await mel.getByRole("button", { name: "Disconnect" }).click();
	await state(mel, "closed");
	const findings = await openFindings(mel);
	await findings.getByText("By hand; Resume goes on where it left off.").waitFor();
	await publish(server, message("meanwhile"));
	await mel.getByRole("button", { name: "Resume" }).click();
	await events(page, 1);
});

test("what is gone for good is shown as a gap", async () => {
	const small = await start({ history: { count: 2 } }, { vars: { INSPECTOR: "on" } });
	const page = await openInspector(browser, small);
	const [, mel] = page.sides;
	await publish(small, message(0));
	await events(page, 1);
	await mel.getByRole("button", { name: "Disconnect" }).click();
	await state(mel, "closed");
	for (let request = 0; request < 2; request += 1) await publish(small, { messages: Array.from({ length: 100 }, () => message("gone")) });
	await mel.getByRole("button", { name: "Resume" }).click();
	await mel.locator(".facts > div", { hasText: "1, 1 with a gap" }).waitFor();
	assert.equal(await fact(mel, "recovered"), "no");
	await page.getByRole("tab", { name: "Timeline" }).click();
	await page.locator("#timeline").getByText("gap from offset 1 to 201; missed up to 200 events").waitFor();
	await small.dispose();
});

/**
 * The Inspector as a console: what is visible, what is one line until it is opened, and becoming another user.
 */
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { closeTabs, keepPicture, launch, openTab } from "../browser.mjs";
import { JWT_SECRET, start } from "../fixture.mjs";
import { address, fact, openInspector, show, state } from "../inspector.mjs";

const server = await start({}, { vars: { INSPECTOR: "on" } });
after(() => server.dispose());
const browser = await launch();
after(() => browser.close());
afterEach(() => closeTabs(browser));

async function open(options, tokens) {
	const page = await openTab(browser, options);
	await page.goto(address(server, tokens));
	const sides = ["A", "B"].map((name) => page.getByRole("region", { name: `Connection ${name}` }));
	await show(page, "Connections");
	for (const side of sides) await state(side, "connected");
	await show(page, "Events");
	return Object.assign(page, { sides });
}

const boxOf = (locator) => locator.evaluate((element) => element.getBoundingClientRect().toJSON());

for (const [width, height] of [[1280, 720], [1440, 900]]) {
	test(`at ${width}×${height} a connection is a line, and what was published is in view without scrolling`, async () => {
		const page = await open({ viewport: { width, height } });
		for (const side of page.sides) assert.ok((await boxOf(side)).height < 60);
		await page.getByRole("button", { name: "Publish", exact: true }).click();
		const card = page.locator("#events > li").first();
		await card.getByText("masked", { exact: true }).first().waitFor();
		const { bottom } = await boxOf(card);
		assert.ok(bottom <= height, `${bottom} of ${height}`);
		const { bottom: receipt } = await boxOf(page.locator("#receipt"));
		assert.ok(receipt <= height, `${receipt} of ${height}`);
		assert.equal(await page.evaluate(() => document.documentElement.scrollHeight), height, "the page itself does not scroll");
		const [{ bottom: advanced }, { top: foot }] = await Promise.all([boxOf(page.locator("#advanced")), boxOf(page.locator("#publish-form .foot"))]);
		assert.ok(advanced <= foot, `nothing of the payload is covered: ${advanced} of ${foot}`);
		for (const side of page.sides) {
			const [shown, whole] = await side.locator(".glance").first().evaluate((glance) => [glance.clientWidth, glance.scrollWidth]);
			assert.equal(shown, whole, "a connection's line is not cut");
		}
		await keepPicture(page, `inspector-console-${width}`);
	});
}

test("the payload comes first, and what is set under Advanced is said in its line", async () => {
	const page = await open({});
	const summary = page.locator("#advanced-summary");
	assert.equal(await summary.innerText(), "3 columns masked");
	assert.equal(await page.getByLabel("Masking").isVisible(), false);
	const [payload, advanced] = await Promise.all([boxOf(page.getByLabel("New row")), boxOf(page.locator("#advanced"))]);
	assert.ok(payload.bottom <= advanced.top);
	await page.locator("#advanced > summary").click();
	await page.getByLabel("Only roles").fill("hr");
	assert.equal(await summary.innerText(), "3 columns masked · only hr");
});

test("a phone shows one part at a time, the events first", async () => {
	const page = await open({ viewport: { width: 375, height: 667 }, hasTouch: true });
	const parts = ["watch", "publishing", "connections"];
	const visible = () => Promise.all(parts.map((part) => page.locator(`#${part}`).isVisible()));
	assert.deepEqual(await visible(), [true, false, false]);
	await show(page, "Publish");
	assert.deepEqual(await visible(), [false, true, false]);
	await page.getByRole("button", { name: "Publish", exact: true }).click();
	await page.locator("#receipt strong").waitFor();
	await keepPicture(page, "inspector-console-phone-publish");
	await show(page, "Events");
	await page.locator("#events > li").first().getByText("masked", { exact: true }).first().waitFor();
	const lines = await page.locator("#events code, #events th").evaluateAll((values) => {
		return values.map((value) => {
			const range = document.createRange();
			range.selectNodeContents(value.firstChild);
			return range.getClientRects().length;
		});
	});
	assert.deepEqual([...new Set(lines)], [1], "no value of the example is broken within a word");
	await keepPicture(page, "inspector-console-phone-events");
});

test("on a development server a connection becomes anyone", async () => {
	const page = await open({}, { secret: JWT_SECRET });
	const [, side] = page.sides;
	await side.getByRole("button", { name: "Details" }).click();
	await side.getByLabel("User").fill("zoë");
	await side.getByLabel("Roles", { exact: true }).fill("hr, member");
	await side.getByRole("button", { name: "Become" }).click();
	await page.getByRole("heading", { name: "B zoë" }).waitFor();
	await state(side, "connected");
	assert.equal(await fact(side, "roles"), "hr, member");
	assert.equal(await page.locator("html").evaluate((element, secret) => element.outerHTML.includes(secret), JWT_SECRET), false);
});

test("without the secret nobody becomes anyone", async () => {
	const page = await openInspector(browser, server);
	assert.equal(await page.getByRole("form", { name: "Become someone" }).count(), 0);
});

test("what is published can be copied as the SDK's code", async () => {
	const page = await open({ permissions: ["clipboard-read", "clipboard-write"] });
	await page.getByRole("button", { name: "Copy as SDK code" }).click();
	await page.getByText("Copied the code.").waitFor();
	const code = await page.evaluate(() => navigator.clipboard.readText());
	assert.match(code, /^import \{ createRealtime \} from "realtime-worker\/server";/);
	assert.match(code, /await realtime\.insert\("employees", \{\n {2}"id": "e1"/);
	assert.match(code, /"organizationId": "org_1"[^]*"maskingConfig"/);
});

test("a chart answers to the pointer, and a time says how long ago it was", async () => {
	const page = await open({});
	await page.getByRole("button", { name: "Publish", exact: true }).click();
	await page.locator("#events time", { hasText: "just now" }).waitFor();
	assert.match(await fact(page.sides[0], "token ends"), /^in (59 min|1 h)$/);
	await page.getByRole("tab", { name: "Metrics" }).click();
	const chart = page.getByRole("img", { name: /^Connections, the last \d+ seconds: now 2/ });
	await chart.hover();
	await page.locator("#chart-connections figcaption", { hasText: /2 at \d\d:\d\d:\d\d/ }).waitFor();
});

test("nothing sticks out of a connection's panel when its details are open", async () => {
	const page = await openInspector(browser, server, { viewport: { width: 1280, height: 720 } });
	for (const side of page.sides) {
		for (const name of ["Why do I get nothing?", "Subscriptions", "Presence"]) await side.locator("details > summary", { hasText: name }).click();
		const [client, scroll] = await side.evaluate((panel) => [panel.clientWidth, panel.scrollWidth]);
		assert.equal(scroll, client);
	}
});

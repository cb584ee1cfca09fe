/**
 * The Inspector in Chromium, as a client of each protocol: its frames, and its events beside those of a native
 * connection.
 */
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { closeTabs, keepPicture, launch } from "../browser.mjs";
import { butterbaseKey, dialectVars } from "../dev_dialects.mjs";
import { ORGANIZATION, mintToken } from "../dev_secrets.mjs";
import { ACCESS_TOKEN, insert, JWT_SECRET, message, publish, start, tokenOf } from "../fixture.mjs";
import { compared, fact, openFindings, openInspector, openPart, state } from "../inspector.mjs";

const TOKEN = tokenOf("mel");
const server = await start(
	{
		tables: { employees: {}, products: {} },
		butterbase: { access: "public", tables: ["employees"], public: ["employees"], apps: { org_1: {} } },
		fluxbase: { organization: "org_1", anonymous: ["public.products"] },
	},
	{ vars: { INSPECTOR: "on" } },
);
after(() => server.dispose());
const browser = await launch();
after(() => browser.close());
afterEach(() => closeTabs(browser));

/** A page whose second side uses a protocol, with the same token or none. */
async function open(protocol, { isAnonymous = false } = {}) {
	const page = await openInspector(browser, server, { tokens: { member: TOKEN } });
	const [, side] = page.sides;
	await side.getByRole("button", { name: "Change token or protocol" }).click();
	await side.getByLabel("Protocol").selectOption({ label: protocol });
	if (isAnonymous) await side.getByLabel("without a token").check();
	await side.getByRole("button", { name: "Connect", exact: true }).click();
	await side.locator(".facts dd", { hasText: new RegExp(`^${protocol}$`) }).waitFor();
	await state(side, "connected");
	return Object.assign(page, { side });
}

/** Subscribes the second side, and waits until the server has confirmed it. */
async function subscribe({ side }, form, values) {
	const part = await openPart(side, "Subscriptions");
	for (const [name, value] of Object.entries(values)) await part.getByLabel(name, { exact: true }).fill(value);
	await part.getByRole("form", { name: `${form}, connection` }).getByRole("button", { name: "Subscribe" }).click();
	const [target] = Object.values(values);
	await part.locator("li", { hasText: target }).getByText("active", { exact: true }).waitFor();
	return part;
}

/** Waits until each of these types is among the second side's frames; the page has only the visible rows. */
async function hasFrames(page, ...types) {
	await page.getByRole("tab", { name: "Frames" }).click();
	const filter = page.getByRole("search", { name: "Frames" });
	await filter.getByLabel("Connection").selectOption("B");
	for (const type of types) {
		await filter.getByLabel("Search").fill(type);
		await page.locator("#frames .frame .type", { hasText: new RegExp(`^${type}$`) }).first().waitFor();
	}
}

const masked = insert("employees", { id: "e1", ssn: "123-45-6789" }, { maskingConfig: { ssn: { type: "ssn" } } });
/** Messages to the whole organization are for native clients. */
const NATIVE_ONLY = { to: [`"all"`, "not received"] };
const MASKED = { id: [`"e1"`, `"e1"`], ssn: [`"*****6789" masked`, `"*****6789" masked`] };

test("Supabase: every change and a topic, masked alike, and a message that it sends itself", async () => {
	const page = await open("Supabase");
	await page.side.locator("li", { hasText: "every change" }).getByText("active", { exact: true }).waitFor({ state: "attached" });
	await publish(server, message({ to: "all" }));
	await publish(server, masked);
	assert.deepEqual(await compared(page, "public.employees"), MASKED);
	// In stream order: what has not arrived before the row never will.
	assert.deepEqual(await compared(page, "note", { isForBoth: false }), NATIVE_ONLY);
	await subscribe(page, "Subscribe to a topic", { Topic: "room:1" });
	await page.getByLabel("Example").selectOption("topic");
	await page.getByRole("combobox", { name: "Publish as", exact: true }).selectOption("B");
	await page.getByRole("button", { name: "Publish", exact: true }).click();
	await page.locator("#receipt strong", { hasText: "ack" }).waitFor();
	assert.deepEqual(await compared(page, "cursor in room:1", { isForBoth: false }), { x: ["not received", "1"], y: ["2"] });
	await hasFrames(page, "phx_join", "phx_reply", "postgres_changes", "broadcast", "opening");
	await page.locator("#frames .frame").last().click();
	const opening = await page.locator("#frame-json").innerText();
	assert.match(opening, /apikey=\(hidden: \d+ characters\)&vsn=1\.0\.0/);
	const [, , signature] = TOKEN.split(".");
	assert.equal(await page.locator("html").evaluate((element, secret) => element.outerHTML.includes(secret), signature), false);
	await keepPicture(page, "inspector-dialect-supabase");
	assert.deepEqual(page.complaints, []);
});

test("Supabase: a refused channel says so", async () => {
	const page = await open("Supabase");
	const part = await openPart(page.side, "Subscriptions");
	await part.getByLabel("Topic", { exact: true }).fill("news-nobody-may-read");
	await part.getByLabel("Type").selectOption("private");
	await part.getByRole("form", { name: "Subscribe to a topic, connection" }).getByRole("button", { name: "Subscribe" }).click();
	await part.locator("li", { hasText: "news-nobody-may-read" }).getByText("refused", { exact: true }).waitFor();
	const findings = await openFindings(page.side);
	await findings.getByText("private topic news-nobody-may-read was refused").waitFor();
});

test("Butterbase: a table is subscribed to by name, with a filter of its own kind", async () => {
	const page = await open("Butterbase", { isAnonymous: true });
	assert.equal(await page.side.getByRole("form", { name: "Subscribe to a topic, connection" }).count(), 0);
	const findings = await openFindings(page.side);
	await findings.getByText("Clients of Butterbase subscribe to each table by its name").waitFor();
	const part = await subscribe(page, "Subscribe to a table", { Table: "employees", Filter: "id=eq.e1" });
	await publish(server, insert("employees", { id: "e2", ssn: "1" }));
	await page.sides[0].locator(".facts > div", { hasText: /^events\s*1$/ }).waitFor();
	await publish(server, masked);
	await part.getByText("1 received").waitFor();
	assert.deepEqual(await compared(page, "public.employees"), MASKED);
	await part.getByLabel("Filter", { exact: true }).fill("id=gt.1");
	await part.getByLabel("Table", { exact: true }).fill("employees");
	await part.getByRole("form", { name: "Subscribe to a table, connection" }).getByRole("button", { name: "Subscribe" }).click();
	await part.getByText("Filters of Butterbase are equalities").waitFor();
	await hasFrames(page, "connected", "subscribe", "subscribed", "change");
});

test("Butterbase: a bad token is explained", async () => {
	const page = await openInspector(browser, server);
	const [, side] = page.sides;
	await side.getByRole("button", { name: "Change token or protocol" }).click();
	await side.getByLabel("Protocol").selectOption({ label: "Butterbase" });
	await side.getByRole("button", { name: "Connect", exact: true }).click();
	await state(side, "closed");
	await (await openFindings(side)).getByText("The token is of the app's own issuer").waitFor();
});

test("what a development server is configured with opens every protocol", async (context) => {
	const development = await start({}, { vars: { INSPECTOR: "on", ACCESS_TOKEN, JWT_SECRET, ...dialectVars({ ACCESS_TOKEN }) } });
	context.after(() => development.dispose());
	const [admin, member] = ["admin", "member"].map((role) => mintToken({ user: role, roles: [role] }, JWT_SECRET));
	const page = await openInspector(browser, development, { tokens: { admin, member, butterbase: butterbaseKey({ ACCESS_TOKEN }) } });
	const [, side] = page.sides;
	for (const [protocol, token] of [["Supabase"], ["Fluxbase"], ["Butterbase", "butterbase"]]) {
		await side.getByRole("button", { name: "Change token or protocol" }).click();
		await side.getByLabel("Protocol").selectOption({ label: protocol });
		if (token) await side.getByLabel("Offered token").selectOption(token);
		assert.equal(await side.getByLabel("Organization").inputValue(), ORGANIZATION);
		await side.getByRole("button", { name: "Connect", exact: true }).click();
		await side.locator(".facts dd", { hasText: new RegExp(`^${protocol}$`) }).waitFor();
		await state(side, "connected");
	}
	await subscribe(Object.assign(page, { side }), "Subscribe to a table", { Table: "employees" });
	await publish(development, { ...masked, organizationId: ORGANIZATION });
	assert.deepEqual(await compared(page, "public.employees"), MASKED);
});

test("Fluxbase: a table, a channel, a message, and what is left when the channel is left", async () => {
	const page = await open("Fluxbase");
	assert.equal(await fact(page.side, "user"), "mel");
	const part = await subscribe(page, "Subscribe to a table", { Table: "employees" });
	await subscribe(page, "Subscribe to a topic", { Topic: "room:1" });
	await publish(server, message({ x: 7 }, { event: "moved", topic: "room:1", private: false }));
	assert.deepEqual(await compared(page, "moved in room:1", { isForBoth: false }), { x: ["not received", "7"] });
	await part.getByRole("button", { name: "Remove public topic room:1" }).click();
	await publish(server, message({ to: "all" }));
	await publish(server, masked);
	assert.deepEqual(await compared(page, "public.employees"), MASKED);
	assert.deepEqual(await compared(page, "note", { isForBoth: false }), NATIVE_ONLY);
	await hasFrames(page, "subscribe", "ack", "postgres_changes", "broadcast", "unsubscribe");
});

test("any frame can be typed and sent; what is none is not, and a token in it is hidden", async () => {
	const page = await open("Fluxbase");
	await subscribe(page, "Subscribe to a topic", { Topic: "room:2" });
	await page.getByRole("tab", { name: "Frames" }).click();
	const form = page.getByRole("form", { name: "Send a frame" });
	const send = async (text) => {
		await form.getByLabel("Send a frame").fill(text);
		await form.getByRole("button", { name: "Send" }).click();
	};
	await form.getByLabel("As").selectOption("B");
	await send("{no");
	await form.getByText(/^No JSON: /).waitFor();
	await send(JSON.stringify({ type: "presence", channel: "room:2", private: false, payload: { event: "track", key: "mel", state: { mood: "fine" } } }));
	await page.locator("#frames .frame", { hasText: "currentPresences" }).first().waitFor();
	const fresh = tokenOf("mel", ["member", "hr"]);
	await send(JSON.stringify({ type: "access_token", token: fresh }));
	await page.locator("#frames .frame", { hasText: `"updated":true` }).waitFor();
	assert.equal(await page.locator("#frames").evaluate((list, secret) => list.outerHTML.includes(secret), fresh.slice(-20)), false);
	await page.getByRole("region", { name: "Connection B" }).getByRole("button", { name: "Disconnect" }).click();
	await send(`{"type":"heartbeat"}`);
	await form.getByText("Connection B is not connected.").waitFor();
});

test("an event stream carries the native frames, and is recovered after a drop", async () => {
	const page = await open("native, event stream");
	await publish(server, masked);
	assert.deepEqual(await compared(page, "public.employees"), MASKED);
	await page.side.getByRole("button", { name: "Simulate a network drop" }).click();
	await page.side.locator(".facts > div", { hasText: /^recovered\s*yes$/ }).waitFor();
	await publish(server, insert("employees", { id: "e9" }));
	await page.side.locator(".facts > div", { hasText: /^events\s*2$/ }).waitFor();
	await hasFrames(page, "opening", "auth_success", "postgres_changes");
});

/** The client in a real browser, with its default environment there: the network, and the visibility of the page. */
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { closeTabs, launch, openTab, openWindow, PATIENCE } from "../../miniflare/browser.mjs";
import { startServer } from "../../miniflare/server.mjs";
import { broadcast, ORGANIZATION, publish, token, variables } from "./client-rig.mjs";

// The Inspector's page includes the client as built.
const server = await startServer({ vars: { ...variables(), INSPECTOR: "on" }, onLog() {} });
after(() => server.dispose());
const browser = await launch();
after(() => browser.close());
afterEach(() => closeTabs(browser));

/**
 * Runs in the page. By itself, its client would not retry or ping for hours: whatever it does at once is caused by an
 * event of the browser.
 */
async function begin({ organizationId, token, patience }) {
	const { createClient } = await import("/client.js");
	const sent = [];
	const heard = [];
	const waiting = new Set();
	const check = () => waiting.forEach((one) => one());
	class Recorder extends WebSocket {
		send(text) {
			sent.push(JSON.parse(text).type);
			super.send(text);
			check();
		}
	}
	const hours = 2_000_000_000;
	const options = { organizationId, token, WebSocket: Recorder, backoff: { base: hours, max: hours }, heartbeat: { interval: hours, timeout: hours } };
	const client = createClient(location.origin, options);
	const until = (isSo) =>
		new Promise((resolve, reject) => {
			const one = () => isSo() && (waiting.delete(one), resolve());
			waiting.add(one);
			one();
			setTimeout(() => reject(new Error(`it did not happen; ${client.status.state}, sent ${sent}, heard ${heard}`)), patience);
		});
	client.on.broadcast("*", ({ event }) => {
		heard.push(event);
		check();
	});
	client.on.status(check);
	globalThis.rig = {
		client,
		sent,
		heard,
		state: (name) => until(() => client.status.state === name),
		pings: (count) => until(() => sent.filter((type) => type === "ping").length >= count),
		events: (count) => until(() => heard.length >= count),
	};
	await rig.state("connected");
}

const given = () => ({ organizationId: ORGANIZATION, token: token(), patience: PATIENCE });

async function connected() {
	const page = await openTab(browser);
	await page.goto(server.url);
	await page.evaluate(begin, given());
	return page;
}

/** Ends the object with its sockets, until the client has noticed: an eviction may succeed and yet miss a socket. */
async function lose(state) {
	while ((await state()) === "connected") await server.evict(ORGANIZATION, "close");
}

test("the client connects in a browser and hears what is published", async () => {
	const page = await connected();
	await publish(server.url, broadcast("first", {}));
	await page.evaluate(() => rig.events(1));
	assert.deepEqual(await page.evaluate(() => [rig.heard, rig.client.identity.userId]), [["first"], "u1"]);
	assert.deepEqual(page.complaints, []);
});

test("a change of network makes it ask at once whether the link still lives", async () => {
	const page = await connected();
	assert.deepEqual(await page.evaluate(() => rig.sent), ["auth"]);
	await page.context().setOffline(true);
	await page.evaluate(() => rig.pings(1));
	assert.equal(await page.evaluate(() => rig.client.status.state), "connected");
});

test("it comes back as soon as the browser is online again, with what it missed", async () => {
	const page = await connected();
	await lose(() => page.evaluate(() => rig.client.status.state));
	await page.context().setOffline(true);
	await publish(server.url, broadcast("meanwhile", {}));
	const wait = await page.evaluate(() => rig.client.status.retryAt - Date.now());
	// A random part of the backoff, and far longer than what follows takes.
	assert.ok(wait > 10_000, `${wait}`);
	await page.context().setOffline(false);
	await page.evaluate(() => rig.state("connected"));
	await page.evaluate(() => rig.events(1));
	assert.deepEqual(await page.evaluate(() => rig.heard), ["meanwhile"]);
});

test("a closed client hears nothing of the network any more", async () => {
	const page = await connected();
	await page.evaluate(() => rig.client.close());
	await page.context().setOffline(true);
	await page.context().setOffline(false);
	await page.evaluate(() => new Promise((resolve) => setTimeout(resolve)));
	assert.deepEqual(await page.evaluate(() => [rig.client.status.state, rig.sent]), ["closed", ["auth"]]);
});

test("when the page becomes visible it asks whether the link still lives, and when it was waiting it comes back", async () => {
	const window = await openWindow(browser, server.url);
	await window.evaluate(`(${begin})(${JSON.stringify(given())})`);
	const visibility = (state) =>
		window.evaluate(`new Promise((resolve) => {
			const check = () => document.visibilityState === "${state}" && resolve();
			document.addEventListener("visibilitychange", check);
			check();
		})`);
	await window.minimize();
	await visibility("hidden");
	assert.deepEqual(await window.evaluate("rig.sent"), ["auth"]);
	await window.restore();
	await window.evaluate("rig.pings(1)");

	await window.minimize();
	await visibility("hidden");
	await lose(() => window.evaluate("rig.client.status.state"));
	await window.evaluate(`rig.state("waiting")`);
	await window.restore();
	await window.evaluate(`rig.state("connected")`);
});

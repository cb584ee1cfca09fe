/**
 * One member cannot stop an organization: what it sends, and what it causes others to be sent, is bounded while
 * everyone else continues.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { insert, join, post, publish, stats, subscribe } from "../fixture.mjs";
import { attack, serve, tally } from "../hostile.mjs";

// With limits under which no attacker is simply closed for its errors, and with topics for the subscriptions of one.
const server = await serve({ limits: { errorsPerMinute: 1_000_000, topics: 1_000 } });

const LISTENERS = 40;
/** Milliseconds between two frames of an attacker who sends ninety a second. */
const NINETY = 11;
const topic = { topic: "room:1" };

/** The number of users, each with one socket, who have subscribed to the room. */
const listeners = (organizationId, count = LISTENERS) =>
	Promise.all(
		Array.from({ length: count }, async (_, n) => {
			const client = await join(server, `listener${n}`, ["member"], { organizationId });
			await subscribe(client, "room", topic);
			return client;
		}),
	);

const terminate = (clients) => clients.forEach((client) => client.socket.terminate());

test("a presence that changes ninety times a second", async (t) => {
	let eve, others;
	const prepare = async (organizationId) => {
		others = await listeners(organizationId);
		eve = await join(server, "eve", ["member"], { organizationId });
		eve.send({ type: "presence_track", ...topic, metadata: {} });
		let n = 0;
		return { every: NINETY, send: () => eve.send({ type: "presence_update", ...topic, metadata: { n: (n += 1), m: "x".repeat(1_000) } }) };
	};
	const published = await attack(t, server, "presence", prepare, { megabytes: 100 });
	const { presence_update: updates = 0 } = tally(others[0]);
	// A window takes 50 ms, and half of the time is quiet.
	assert.ok(updates > 0 && updates <= (published / 2) * 2 * 2, `${updates} updates`);
	assert.equal((await stats(server, "presence")).history, published, "no presence is retained");
	terminate([eve, ...others]);
});

test("messages of 60 KB ninety times a second", async (t) => {
	let eve, others;
	const prepare = async (organizationId) => {
		others = await listeners(organizationId);
		eve = await join(server, "eve", ["member"], { organizationId });
		const frame = JSON.stringify({ type: "broadcast", ...topic, event: "e", payload: "x".repeat(60_000) });
		return { every: NINETY, send: () => eve.send(frame) };
	};
	const published = await attack(t, server, "messages", prepare, { megabytes: 250 });
	assert.ok(tally(eve).rate_limited > 10, JSON.stringify(tally(eve)));
	assert.equal((await stats(server, "messages")).history, published, "only what the API said");
	terminate([eve, ...others]);
});

test("subscriptions with long names ninety times a second, beside two hundred", async (t) => {
	let eve;
	const prepare = async (organizationId) => {
		eve = await join(server, "eve", ["member"], { organizationId });
		const named = (n) => ({ topic: `room:${String(n).padEnd(240, "x")}` });
		for (let n = 0; n < 200; n += 1) await subscribe(eve, `${n}`, named(n));
		let n = 0;
		const change = () => {
			n += 1;
			eve.send({ type: "unsubscribe", id: `${n % 200}` });
			eve.send({ type: "subscribe", id: `${n % 200}`, ...named(n) });
		};
		return { every: 2 * NINETY, send: change };
	};
	const published = await attack(t, server, "names", prepare, { megabytes: 100 });
	const { subscribed } = tally(eve);
	assert.ok(subscribed > 220, `${subscribed} subscriptions`);
	assert.equal((await stats(server, "names")).history, published);
	terminate([eve]);
});

test("rosters that are asked for again and again", async (t) => {
	let eve, others;
	const prepare = async (organizationId) => {
		others = await listeners(organizationId);
		for (const other of others) other.send({ type: "presence_track", ...topic, metadata: { m: "x".repeat(4_000) } });
		eve = await join(server, "eve", ["member"], { organizationId });
		const track = () => eve.send({ type: "presence_track", ...topic, metadata: {} });
		const anew = () => eve.send({ type: "presence_untrack", ...topic });
		let n = 0;
		return { every: NINETY, send: () => ((n += 1) % 4 ? track() : anew()) };
	};
	const published = await attack(t, server, "rosters", prepare, { megabytes: 150 });
	// Each costs 160 of the 5,000 units of a second; initially there are 10,000.
	const { presence_state: rosters = 0 } = tally(eve);
	assert.ok(rosters >= 1 && rosters <= 62 + (published / 20) * 32, `${rosters} rosters`);
	terminate([eve, ...others]);
});

test("replays of a long history", async (t) => {
	let eve;
	const prepare = async (organizationId) => {
		const messages = Array.from({ length: 100 }, (_, n) => insert("elsewhere", { id: n, text: "x".repeat(200) }));
		for (let n = 0; n < 50; n += 1) await post(server, { organizationId, messages });
		eve = await join(server, "eve", ["member"], { organizationId, recover: true });
		const { epoch } = eve.welcome;
		let n = 0;
		const recover = () => {
			n += 1;
			eve.send({ type: "subscribe", id: `${n}`, topic: `room:${n}`, recover: { epoch, offset: 0 } });
			eve.send({ type: "unsubscribe", id: `${n}` });
		};
		return { every: 25, send: recover };
	};
	await attack(t, server, "replays", prepare, { megabytes: 100 });
	const { subscribed, ...rest } = tally(eve);
	assert.ok(subscribed > 40, `${subscribed} of forty a second`);
	assert.equal(rest.rate_limited, undefined, "rows of other topics are not read");
	terminate([eve]);
});

test("regular expressions that are written to take long", async (t) => {
	let eves;
	const prepare = async (organizationId) => {
		eves = await Promise.all(Array.from({ length: 20 }, () => join(server, "eve", ["member"], { organizationId })));
		const filter = (socket, n) => `a=match.^(?:a?){120}${socket}x${n}$`;
		for (const [socket, eve] of eves.entries()) {
			for (let n = 0; n < 8; n += 1) await subscribe(eve, `${n}`, { table: "t", filter: filter(socket, n) });
		}
		const row = { id: 1, a: "a".repeat(500) };
		return { every: 50, send: () => void publish(server, { organizationId, ...insert("t", row) }).catch(() => {}) };
	};
	await attack(t, server, "expressions", prepare, { megabytes: 100 });
	assert.ok(eves.some((eve) => tally(eve).rate_limited === 1), "told");
	assert.ok(eves.every((eve) => (tally(eve).rate_limited ?? 0) <= 1), "once");
	terminate(eves);
});

/**
 * One member cannot stop an organization: what it sends, and what it has others sent, is bounded while everyone else goes on.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../client.mjs";
import { insert, join, post, publish, socketUrl, start, stats, subscribe, tokenOf } from "../fixture.mjs";
import { attack, tally } from "../hostile.mjs";
import { signToken } from "../token.mjs";
import { JWT_SECRET, now } from "../fixture.mjs";

/** So that no attacker is simply closed for its errors. */
const limits = { errorsPerMinute: 1_000_000 };
const server = await start({ limits });
after(() => server.dispose());

const LISTENERS = 40;
const topic = { topic: "room:1" };

/** Sockets of as many users that have all subscribed to the room. */
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
		return { every: 11, send: () => eve.send({ type: "presence_update", ...topic, metadata: { n: (n += 1), m: "x".repeat(1_000) } }) };
	};
	t.diagnostic(await attack(server, "presence", prepare, { megabytes: 100 }));
	const { presence_update: updates = 0 } = tally(others[0]);
	assert.ok(updates > 0 && updates <= 150, `${updates} updates`);
	assert.equal((await stats(server, "presence")).history, 40, "no presence is retained");
	terminate([eve, ...others]);
});

test("messages of 60 KB ninety times a second", async (t) => {
	let eve, others;
	const prepare = async (organizationId) => {
		others = await listeners(organizationId);
		eve = await join(server, "eve", ["member"], { organizationId });
		const frame = JSON.stringify({ type: "broadcast", ...topic, event: "e", payload: "x".repeat(60_000) });
		return { every: 11, send: () => eve.send(frame) };
	};
	t.diagnostic(await attack(server, "messages", prepare, { megabytes: 250 }));
	assert.ok(tally(eve).rate_limited > 10, JSON.stringify(tally(eve)));
	assert.equal((await stats(server, "messages")).history, 40, "only what the API said");
	terminate([eve, ...others]);
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
		return { every: 11, send: () => ((n += 1) % 4 ? track() : anew()) };
	};
	t.diagnostic(await attack(server, "rosters", prepare, { megabytes: 150 }));
	const { presence_state: rosters = 0 } = tally(eve);
	assert.ok(rosters >= 1 && rosters <= 120, `${rosters} rosters`);
	terminate([eve, ...others]);
});

test("replays of a long history", async (t) => {
	let eve;
	const prepare = async (organizationId) => {
		const messages = Array.from({ length: 100 }, (_, n) => insert("elsewhere", { id: n, text: "x".repeat(200) }));
		for (let n = 0; n < 10; n += 1) await post(server, { organizationId, messages });
		eve = await join(server, "eve", ["member"], { organizationId, recover: true });
		const { epoch } = eve.welcome;
		let n = 0;
		return { every: 25, send: () => eve.send({ type: "subscribe", id: `${(n += 1)}`, topic: `room:${n}`, recover: { epoch, offset: 0 } }) };
	};
	t.diagnostic(await attack(server, "replays", prepare, { megabytes: 100 }));
	assert.ok(tally(eve).rate_limited > 0, JSON.stringify(tally(eve)));
	terminate([eve]);
});

test("regular expressions that are written to take long", async (t) => {
	let eves;
	const prepare = async (organizationId) => {
		eves = await Promise.all(Array.from({ length: 20 }, () => join(server, "eve", ["member"], { organizationId })));
		const filter = (socket, n) => `a=match.^(?:a?){200}${socket}x${n}$`;
		for (const [socket, eve] of eves.entries()) {
			for (let n = 0; n < 8; n += 1) await subscribe(eve, `${n}`, { table: "t", filter: filter(socket, n) });
		}
		const row = { id: 1, a: "a".repeat(500) };
		return { every: 50, send: () => void publish(server, { organizationId, ...insert("t", row) }).catch(() => {}) };
	};
	t.diagnostic(await attack(server, "expressions", prepare, { megabytes: 100 }));
	assert.ok(eves.some((eve) => tally(eve).rate_limited === 1), "told");
	assert.ok(eves.every((eve) => (tally(eve).rate_limited ?? 0) <= 1), "once");
	terminate(eves);
});

test("client REST with a key that everyone has", async (t) => {
	const key = signToken({ role: "anon", organizationId: "rest", exp: now() + 3_600 }, JWT_SECRET);
	const statuses = {};
	const prepare = async () => {
		const messages = Array.from({ length: 100 }, () => ({ topic: "open", event: "e", payload: {} }));
		const send = async () => {
			const response = await post(server, { messages }, { path: "/realtime/v1/api/broadcast", token: key }).catch(() => undefined);
			if (response) statuses[response.status] = (statuses[response.status] ?? 0) + 1;
		};
		return { every: 11, send };
	};
	t.diagnostic(await attack(server, "rest", prepare, { megabytes: 100 }));
	assert.deepEqual(Object.keys(statuses).filter((status) => !["202", "429"].includes(status)), [], JSON.stringify(statuses));
	assert.equal((await stats(server, "rest")).history, 40, "only what the API said");
});

test("silent strangers of one address, and one user who wants every connection", async (t) => {
	const few = await start({ limits: { ...limits, pending: 60, pendingPerAddress: 20, connections: 100, connectionsPerUser: 20 } });
	t.after(() => few.dispose());
	const opened = [];
	const prepare = async (organizationId) => {
		const headers = { "cf-connecting-ip": "192.0.2.7" };
		const hold = async (token) => {
			const client = await connect(socketUrl(few, { organizationId }), { headers }).catch(() => undefined);
			if (!client) return;
			opened.push(client);
			if (token) client.send({ type: "auth", token, organizationId });
		};
		const token = tokenOf("eve", ["member"], { organizationId });
		return { every: 20, send: () => void (hold(), hold(token)) };
	};
	t.diagnostic(await attack(few, "connections", prepare, { megabytes: 150 }));
	const honest = await Promise.all(Array.from({ length: 40 }, (_, n) => join(few, `late${n}`, ["member"], { organizationId: "connections" })));
	const { connections, pending } = await stats(few, "connections");
	assert.ok(pending <= 20, `${pending} strangers of one address`);
	assert.ok(connections - pending <= 20 + honest.length, `${connections} connections`);
	terminate([...opened, ...honest]);
});

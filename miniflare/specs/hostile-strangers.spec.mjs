/**
 * The cost of clients that have not authenticated, share a public key, or are one user with many sockets.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../client.mjs";
import { JWT_SECRET, join, now, post, socketUrl, stats, tokenOf } from "../fixture.mjs";
import { attack, serve } from "../hostile.mjs";
import { signToken } from "../token.mjs";

const server = await serve({ limits: { pending: 60, pendingPerAddress: 20, connections: 100, connectionsPerUser: 20 } });

/** Someone who logs in from a separate address. */
async function late(organizationId, n) {
	const client = await connect(socketUrl(server, { organizationId }), { headers: { "cf-connecting-ip": `198.51.100.${n}` } });
	client.send({ type: "auth", token: tokenOf(`late${n}`, ["member"], { organizationId }), organizationId });
	assert.equal((await client.next()).type, "auth_success");
	return client;
}

const terminate = (clients) => clients.forEach((client) => client.socket.terminate());

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
	const published = await attack(t, server, "rest", prepare, { megabytes: 100 });
	assert.deepEqual(Object.keys(statuses).filter((status) => !["202", "429"].includes(status)), [], JSON.stringify(statuses));
	assert.equal((await stats(server, "rest")).history, published, "only what the API said");
});

test("silent strangers of one address, and one user who wants every connection", async (t) => {
	const opened = [];
	const prepare = async (organizationId) => {
		const headers = { "cf-connecting-ip": "192.0.2.7" };
		const hold = async (token) => {
			const client = await connect(socketUrl(server, { organizationId }), { headers }).catch(() => undefined);
			if (!client) return;
			opened.push(client);
			if (token) client.send({ type: "auth", token, organizationId });
		};
		const token = tokenOf("eve", ["member"], { organizationId });
		return { every: 50, send: () => void (hold(), hold(token)) };
	};
	await attack(t, server, "connections", prepare, { megabytes: 150 });
	const honest = await Promise.all(Array.from({ length: 40 }, (_, n) => late("connections", n)));
	const { connections, pending } = await stats(server, "connections");
	assert.ok(pending <= 20, `${pending} strangers of one address`);
	assert.ok(connections - pending <= 20 + honest.length, `${connections} connections`);
	terminate([...opened, ...honest]);
});

test("a client whose token is refused and that comes back for ever", async () => {
	const refused = await serve({ limits: { refusedPerAddress: 5 } });
	const options = { organizationId: "forever" };
	const headers = (address, token) => ({ "cf-connecting-ip": address, ...(token && { authorization: `Bearer ${token}` }) });
	const attempt = async (address, token) => {
		try {
			(await connect(socketUrl(refused, options), { headers: headers(address, token) })).socket.terminate();
			return { status: 101 };
		} catch ({ status, retryAfter }) {
			return { status, retryAfter };
		}
	};
	const token = tokenOf("eve", [], { ...options, exp: now() - 600 });
	const answers = [];
	for (let n = 0; n < 8; n += 1) answers.push(await attempt("2001:db8:0:7::1", token));
	assert.deepEqual(answers.slice(0, 5), Array(5).fill({ status: 401, retryAfter: undefined }));
	for (const { status, retryAfter } of answers.slice(5)) {
		assert.equal(status, 429);
		assert.ok(Number(retryAfter) >= 1 && Number(retryAfter) <= 12, retryAfter);
	}
	// The whole network of the address, and sockets that have yet to say who they are.
	assert.equal((await attempt("2001:db8:0:7::2")).status, 429);
	// Nobody else: another address, and a good token of the same one.
	assert.equal((await attempt("2001:db8:0:8::1", token)).status, 401);
	assert.equal((await attempt("2001:db8:0:7::1", tokenOf("ada", [], options))).status, 101);
	// What never reached the object is not known there.
	assert.equal((await stats(refused, "forever")).refusedAttempts, 0);
	for (let n = 0; n < 5; n += 1) {
		// The Worker holds those whose address names no organization.
		const client = await connect(socketUrl(refused, n % 2 === 0 ? options : {}), { headers: headers("192.0.2.9") });
		client.send({ type: "auth", token, ...options });
		assert.equal((await client.next()).code, "token_expired");
		await client.closed;
	}
	assert.deepEqual([(await attempt("192.0.2.9")).status, (await attempt("192.0.2.9")).status], [429, 429]);
	assert.equal((await stats(refused, "forever")).refusedAttempts, 6, "the second was not asked of it");
});

test("messages of 31 MB from twenty strangers at once", async () => {
	const organizationId = "large";
	const member = await join(server, "ada", ["member"], { organizationId });
	const strangers = await Promise.all(Array.from({ length: 20 }, () => connect(socketUrl(server, { organizationId }))));
	const before = await stats(server, organizationId);
	const huge = "x".repeat(31_000_000);
	for (const stranger of strangers) stranger.send(huge);
	const endings = await Promise.all(strangers.map((stranger) => stranger.closed));
	assert.deepEqual(new Set(endings.map(({ code }) => code)), new Set([1009]));
	member.send('{"type": "ping"}');
	assert.equal((await member.next()).type, "pong");
	const { wasmMemory, pending } = await stats(server, organizationId);
	assert.equal(pending, 0);
	// None of them was copied: the memory of the Wasm never shrinks.
	assert.ok(wasmMemory - before.wasmMemory < 8_000_000, `${before.wasmMemory} bytes before, ${wasmMemory} after`);
	await member.close();
});

/**
 * Retries, against a server that misbehaves on command.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { after, test } from "node:test";
import { ACCESS_TOKEN, join, start, unread } from "../../miniflare/fixture.mjs";
import { createRealtime } from "realtime-worker/server";

const server = await start();
after(() => server.dispose());

const RECEIPT = { accepted: 1, duplicate: false, epoch: "e", offset: 1, delivered: 0 };
const accept = (response) => answer(response, 202, RECEIPT);
const refuse = (status, code, headers) => (response) => answer(response, status, { error: { code, message: code } }, headers);
const hangUp = (response) => response.socket.destroy();
const hang = () => {};

function answer(response, status, body, headers = {}) {
	response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}

/** A server that answers each request as scripted; the last entry applies to all further ones. */
async function misbehave(context, ...script) {
	const requests = [];
	const http = createServer(async (request, response) => {
		const { method, url, headers } = request;
		requests.push({ method, url, headers, at: performance.now(), body: await json(request) });
		script[Math.min(requests.length, script.length) - 1](response);
	}).listen(0, "127.0.0.1");
	await once(http, "listening");
	context.after(() => {
		http.closeAllConnections();
		http.close();
	});
	return { env: { REALTIME_URL: `http://127.0.0.1:${http.address().port}/`, ACCESS_TOKEN }, requests };
}

const quick = { retry: { delay: 1 } };

test("a request names its sender and its content", async (context) => {
	const { env, requests } = await misbehave(context, accept);
	assert.deepEqual(await createRealtime(env).broadcast("e", { a: 1 }, "org_1", { id: "mine" }), RECEIPT);
	const [{ method, url, headers, body }] = requests;
	assert.deepEqual([method, url], ["POST", "/broadcast"]);
	assert.deepEqual([headers.authorization, headers["content-type"]], [`Bearer ${ACCESS_TOKEN}`, "application/json"]);
	assert.deepEqual(body, { organizationId: "org_1", type: "broadcast", event: "e", payload: { a: 1 }, id: "mine" });
});

test("every failure that may pass is tried again, under the same id", async (context) => {
	const passing = [hangUp, refuse(429, "rate_limited"), refuse(503, "overloaded")];
	const { env, requests } = await misbehave(context, ...passing, accept);
	assert.deepEqual(await createRealtime(env, quick).insert("claims", { id: "c1" }, "org_1"), RECEIPT);
	assert.equal(requests.length, 4);
	const [{ body }] = requests;
	assert.match(body.id, /^[0-9a-f-]{36}$/);
	for (const request of requests) assert.deepEqual(request.body, body);
});

test("so is a failed server; a misconfigured one is not", async (context) => {
	const failed = await misbehave(context, refuse(500, "internal"), refuse(502, "gateway"), accept);
	await createRealtime(failed.env, quick).broadcast("e", 1, "org_1");
	assert.equal(failed.requests.length, 3);
	const misconfigured = await misbehave(context, refuse(500, "configuration"), accept);
	const sent = createRealtime(misconfigured.env, quick).broadcast("e", 1, "org_1");
	await assert.rejects(sent, { code: "configuration", status: 500, retryable: false });
	assert.equal(misconfigured.requests.length, 1);
});

test("a refusal is not tried again", async (context) => {
	for (const [status, code] of [[400, "invalid_request"], [401, "unauthorized"], [413, "payload_too_large"], [302, "moved"]]) {
		const { env, requests } = await misbehave(context, refuse(status, code, { location: "/elsewhere" }), accept);
		await assert.rejects(createRealtime(env, quick).broadcast("e", 1, "org_1"), { code, status, retryable: false });
		assert.equal(requests.length, 1, code);
	}
});

test("an answer that is not the Worker's is an error", async (context) => {
	for (const [status, body] of [[200, "<html>"], [202, "accepted"], [404, ""]]) {
		const { env, requests } = await misbehave(context, (response) => response.writeHead(status).end(body));
		await assert.rejects(createRealtime(env, quick).broadcast("e", 1, "org_1"), { code: "unexpected_answer", status });
		assert.equal(requests.length, 1);
	}
});

test("tries are bounded, and the last failure is told", async (context) => {
	const { env, requests } = await misbehave(context, refuse(503, "overloaded"));
	const two = createRealtime(env, { retry: { attempts: 2, delay: 1 } });
	await assert.rejects(two.broadcast("e", 1, "org_1"), { code: "overloaded", status: 503, retryable: true });
	assert.equal(requests.length, 2);
	const none = createRealtime({ ...env, REALTIME_URL: "http://127.0.0.1:1" }, quick);
	await assert.rejects(none.broadcast("e", 1, "org_1"), { code: "network", status: 0, retryable: true });
});

test("Retry-After is waited for, in seconds or until a date", async (context) => {
	const date = () => new Date(Math.ceil(Date.now() / 1_000) * 1_000 + 1_000).toUTCString();
	const late = (response) => refuse(503, "overloaded", { "retry-after": date() })(response);
	const { env, requests } = await misbehave(context, refuse(429, "rate_limited", { "retry-after": "1" }), late, accept);
	await createRealtime(env, quick).broadcast("e", 1, "org_1");
	const [first, second, third] = requests.map((request) => request.at);
	// Timers may fire a little early.
	assert.ok(second - first > 980, `${second - first}`);
	assert.ok(third - second > 900, `${third - second}`);
});

test("a Retry-After that is too long is left to the caller", async (context) => {
	const { env, requests } = await misbehave(context, refuse(429, "rate_limited", { "retry-after": "60" }), accept);
	const sent = createRealtime(env, quick).broadcast("e", 1, "org_1");
	await assert.rejects(sent, { code: "rate_limited", retryAfter: 60, retryable: true });
	assert.equal(requests.length, 1);
});

test("a request that takes too long is given up and tried again", async (context) => {
	const { env, requests } = await misbehave(context, hang, accept);
	await createRealtime(env, { retry: { delay: 1, attempts: 20 }, timeout: 100 }).broadcast("e", 1, "org_1");
	assert.ok(requests.length >= 2);
	const silent = await misbehave(context, hang);
	const sent = createRealtime(silent.env, { timeout: 20, retry: { attempts: 2, delay: 1 } }).broadcast("e", 1, "org_1");
	await assert.rejects(sent, { code: "timeout", status: 0, retryable: true });
});

test("a signal stops a request, a wait, and what has not begun", async (context) => {
	const reason = new Error("enough");
	const request = new AbortController();
	const silent = await misbehave(context, () => request.abort(reason));
	const requested = createRealtime(silent.env).broadcast("e", 1, "org_1", { signal: request.signal });
	await assert.rejects(requested, reason);

	const busy = await misbehave(context, refuse(429, "rate_limited", { "retry-after": "4" }));
	const wait = new AbortController();
	/** Once the answer is read, all that remains is to wait. */
	const answered = async (url, init) => {
		const response = await fetch(url, init);
		const text = await response.text();
		setImmediate(() => wait.abort(reason));
		return { status: response.status, headers: response.headers, text: async () => text };
	};
	const patient = createRealtime(busy.env, { fetch: answered });
	await assert.rejects(patient.batch("org_1", (batch) => batch.broadcast("e", 1), { signal: wait.signal }), reason);
	assert.equal(busy.requests.length, 1);

	const stopped = createRealtime(busy.env).broadcast("e", 1, "org_1", { signal: AbortSignal.abort(reason) });
	await assert.rejects(stopped, reason);
	assert.equal(busy.requests.length, 1);
});

test("an answer that is lost costs no second delivery", async () => {
	let lost = 0;
	/** The Worker receives the request; the first two answers are lost. */
	const lossy = async (url, init) => {
		const response = await fetch(url, init);
		if (lost < 2) {
			lost += 1;
			await response.body.cancel();
			throw new TypeError("connection reset");
		}
		return response;
	};
	const client = await join(server, "ada");
	const realtime = createRealtime({ REALTIME_URL: server.url, ACCESS_TOKEN }, { ...quick, fetch: lossy });
	const receipt = await realtime.broadcast("once", 1, "org_1");
	assert.equal(receipt.duplicate, true);
	assert.deepEqual((await unread(client)).map((frame) => frame.event), ["once"]);
});

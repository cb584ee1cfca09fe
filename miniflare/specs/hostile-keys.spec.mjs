/**
 * How much strangers can make the Worker request from the issuer of keys, and how much an issuer can make the Worker
 * read.
 */
import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { connect } from "../client.mjs";
import { askForTicket, now, socketUrl, start } from "../fixture.mjs";

const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const KEYS = JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "known", alg: "EdDSA" }] });

/** A token signed with the issuer's key, whatever key it names. */
function tokenOf(kid, claims = {}) {
	const all = { sub: "u", organizationId: "org_1", exp: now() + 600, ...claims };
	const content = [{ alg: "EdDSA", kid }, all].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
	return `${content}.${sign(null, Buffer.from(content), privateKey).toString("base64url")}`;
}

/** An HTTP server on a separate origin, which counts its requests. */
async function listen(answer) {
	const asked = [];
	const http = createServer((request, response) => {
		asked.push(request.url);
		answer(request, response);
	});
	http.listen(0, "127.0.0.1");
	await once(http, "listening");
	after(() => {
		http.closeAllConnections();
		http.close();
	});
	return { asked, origin: `http://127.0.0.1:${http.address().port}` };
}

/** A deployment whose keys come from this issuer, with the lines of its log. */
async function deploy(answer) {
	const issuer = await listen(answer);
	const lines = [];
	const server = await start({}, { vars: { JWKS_URL: `${issuer.origin}/keys` }, onLog: ({ message }) => lines.push(message) });
	after(() => server.dispose());
	return { issuer, server, lines };
}

/** The result of a request for a ticket with this token. */
async function ticket(server, token) {
	const response = await askForTicket(server, token);
	const { error } = await response.json();
	return error?.code ?? response.status;
}

/** The result of an auth frame with this token. */
async function enter(server, organizationId, token) {
	const client = await connect(socketUrl(server, { organizationId }));
	client.send({ type: "auth", token });
	const { type, code } = await client.next();
	client.socket.terminate();
	return code ?? type;
}

const serve = (_request, response) => response.end(KEYS);

test("200 tickets with keys that nobody knows make one fetch", async () => {
	const { issuer, server } = await deploy(serve);
	const codes = await Promise.all(Array.from({ length: 200 }, (_, index) => ticket(server, tokenOf(`k${index}`))));
	assert.ok(codes.every((code) => code === "invalid_token" || code === "keys_unavailable"), String(new Set(codes)));
	assert.equal(issuer.asked.length, 1);
	assert.equal(await ticket(server, tokenOf("known")), 200);
	assert.equal(issuer.asked.length, 1);
});

test("100 strange organizations make one fetch", async () => {
	const { issuer, server } = await deploy(serve);
	const strangers = Array.from({ length: 100 }, (_, index) => `strange_${index}`);
	const codes = await Promise.all(strangers.map((name, index) => enter(server, name, tokenOf(`k${index}`, { organizationId: name }))));
	assert.ok(codes.every((code) => code === "invalid_token" || code === "keys_unavailable"), String(new Set(codes)));
	assert.equal(await enter(server, "org_1", tokenOf("known")), "auth_success");
	assert.equal(issuer.asked.length, 1);
});

test("a redirect is followed within the origin only", async () => {
	const elsewhere = await listen(serve);
	const within = await deploy((request, response) =>
		request.url === "/keys" ? response.writeHead(302, { location: "/moved" }).end() : serve(request, response),
	);
	assert.equal(await ticket(within.server, tokenOf("known")), 200);
	assert.deepEqual(within.issuer.asked, ["/keys", "/moved"]);
	const without = await deploy((_request, response) => response.writeHead(302, { location: `${elsewhere.origin}/keys` }).end());
	assert.equal(await ticket(without.server, tokenOf("known")), "keys_unavailable");
	assert.deepEqual(elsewhere.asked, []);
	assert.ok(without.lines.some((line) => line.includes("key set: a redirect to another origin")), without.lines.join("\n"));
	const round = await deploy((_request, response) => response.writeHead(307, { location: "/keys" }).end());
	assert.equal(await ticket(round.server, tokenOf("known")), "keys_unavailable");
	assert.equal(round.issuer.asked.length, 4);
});

test("an endless answer is read no further than a key set may be long", async () => {
	const ended = Promise.withResolvers();
	let sent = 0;
	const { server, lines } = await deploy((_request, response) => {
		const block = Buffer.alloc(64 * 1024, " ");
		const more = () => {
			do sent += block.length;
			while (response.write(block));
		};
		response.on("drain", more).on("close", ended.resolve);
		more();
	});
	assert.equal(await ticket(server, tokenOf("known")), "keys_unavailable");
	await ended.promise;
	// The rest was sent before the Worker was seen to have stopped.
	assert.ok(sent < 16 * 1024 * 1024, `${sent} bytes`);
	assert.ok(lines.some((line) => line.includes("key set: the answer is too long")), lines.join("\n"));
});

test("an issuer that never answers is given up after five seconds, by all who wait", async () => {
	const { issuer, server, lines } = await deploy(() => {});
	const began = performance.now();
	const codes = await Promise.all(Array.from({ length: 20 }, () => ticket(server, tokenOf("known"))));
	assert.deepEqual(new Set(codes), new Set(["keys_unavailable"]));
	const seconds = (performance.now() - began) / 1_000;
	assert.ok(seconds >= 4.5 && seconds < 10, `${seconds} s`);
	assert.equal(issuer.asked.length, 1);
	assert.ok(lines.some((line) => line.includes("key set: no answer in time")), lines.join("\n"));
});

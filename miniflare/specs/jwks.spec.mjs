/**
 * Session tokens of an issuer that publishes its keys: which are accepted, and how often the keys are fetched.
 */
import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { connect } from "../client.mjs";
import { askForTicket, JWT_SECRET, now, socketUrl, start, tokenOf, unread } from "../fixture.mjs";
import { signToken } from "../token.mjs";

/** An issuer: its keys, its requests, and whether it answers. */
class Issuer {
	keys = [];
	fetches = 0;
	answer = () => [200, JSON.stringify({ keys: this.keys })];
	#http = createServer(async (_request, response) => {
		this.fetches += 1;
		const [status, body] = await this.answer();
		response.writeHead(status).end(body);
	});

	static async start(keys) {
		const issuer = new Issuer();
		issuer.keys = keys;
		issuer.#http.listen(0, "127.0.0.1");
		await once(issuer.#http, "listening");
		after(() => issuer.#http.close());
		issuer.url = `http://127.0.0.1:${issuer.#http.address().port}/keys`;
		return issuer;
	}
}

/** A key pair: the published public half, and tokens signed with the private half. */
function key(alg, kid = alg) {
	const kinds = { RS: ["rsa", { modulusLength: 2048 }], ES: ["ec", { namedCurve: "P-256" }], Ed: ["ed25519"] };
	const { publicKey, privateKey } = generateKeyPairSync(...kinds[alg.slice(0, 2)]);
	const hash = alg === "EdDSA" ? null : `sha${alg.slice(2)}`;
	const jwk = { ...publicKey.export({ format: "jwk" }), kid, use: "sig", alg };
	const signature = (content) => sign(hash, Buffer.from(content), { key: privateKey, dsaEncoding: "ieee-p1363" });
	return { jwk, publicKey, token: (claims, header) => token({ alg, kid, ...header }, claims, signature) };
}

function token(header, claims, signature) {
	const all = { sub: "u", organizationId: "org_1", exp: now() + 600, ...claims };
	const content = [header, all].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
	return `${content}.${signature(content).toString("base64url")}`;
}

/** A deployment with its own token issuer. */
async function deploy(keys, vars = {}) {
	const issuer = await Issuer.start(keys.map(({ jwk }) => jwk));
	const server = await start({}, { vars: { JWKS_URL: issuer.url, ...vars } });
	after(() => server.dispose());
	return { issuer, server };
}

/** The answer to an auth frame. */
async function enter(server, token, { organizationId = "org_1" } = {}) {
	const client = await connect(socketUrl(server, { organizationId }));
	client.send({ type: "auth", token });
	const { type, code } = await client.next();
	client.socket.terminate();
	return code ?? type;
}

const keys = ["RS256", "RS384", "RS512", "ES256", "EdDSA"].map((alg) => key(alg));
const [rsa, , , ec, ed] = keys;
const { issuer, server } = await deploy(keys);

test("every algorithm of the contract is accepted, and the keys are fetched once", async () => {
	const before = issuer.fetches;
	for (const { token } of keys) assert.equal(await enter(server, token()), "auth_success");
	assert.equal(issuer.fetches - before, 1);
});

test("the Worker's own fetch, for tickets, is shared as well", async () => {
	const before = issuer.fetches;
	for (const { token } of keys) assert.equal((await askForTicket(server, token())).status, 200);
	assert.ok(issuer.fetches - before <= 1);
});

test("the secret's tokens are accepted beside them, without a fetch", async () => {
	const before = issuer.fetches;
	assert.equal(await enter(server, tokenOf("u")), "auth_success");
	assert.equal(issuer.fetches, before);
});

test("a token without kid is held against every key", async () => {
	assert.equal(await enter(server, ed.token({}, { kid: undefined })), "auth_success");
});

test("the algorithm comes from the key, never from the token", async () => {
	const pem = rsa.publicKey.export({ format: "pem", type: "spki" });
	const hmac = (secret) => (content) => createHmac("sha256", secret).update(content).digest();
	const attempts = {
		"HS256 with the public key as secret": token({ alg: "HS256", kid: "RS256" }, {}, hmac(pem)),
		"HS256 with the modulus as secret": token({ alg: "HS256", kid: "RS256" }, {}, hmac(Buffer.from(rsa.jwk.n, "base64url"))),
		none: token({ alg: "none", kid: "RS256" }, {}, () => Buffer.alloc(0)),
		"RS384 with a key for RS256": keys[1].token({}, { kid: "RS256" }),
		"RS512 named on an RS256 signature": rsa.token({}, { alg: "RS512" }),
		"ES256 named on an RSA signature": rsa.token({}, { alg: "ES256", kid: "ES256" }),
		"EdDSA with the ES256 key": ec.token({}, { alg: "EdDSA" }),
		"the kid of another key": ed.token({}, { kid: "ES256" }),
		"a key of the token's own": rsa.token({}, { jwk: ed.jwk, kid: "EdDSA" }),
		"crit, which nobody understands": ed.token({}, { crit: ["b64"], b64: false }),
		"an empty signature": token({ alg: "EdDSA", kid: "EdDSA" }, {}, () => Buffer.alloc(0)),
		"a signature of 63 bytes": token({ alg: "ES256", kid: "ES256" }, {}, () => Buffer.alloc(63, 1)),
		"a signature of zeros": token({ alg: "ES256", kid: "ES256" }, {}, () => Buffer.alloc(64)),
		"a key from a URL": ed.token({}, { jku: "https://evil.example/keys", kid: "RS256" }),
	};
	for (const [what, attempt] of Object.entries(attempts)) {
		assert.equal(await enter(server, attempt), "invalid_token", what);
	}
});

test("a published secret or encryption key signs nothing", async () => {
	const secret = Buffer.from("a secret that should not be here");
	const oct = { jwk: { kty: "oct", kid: "oct", k: secret.toString("base64url"), alg: "HS256" } };
	const enc = key("RS256", "enc");
	enc.jwk.use = "enc";
	const { server } = await deploy([oct, enc, { jwk: { kty: "new", kid: "n" } }, { jwk: "no key" }, ed]);
	const hmac = (content) => createHmac("sha256", secret).update(content).digest();
	assert.equal(await enter(server, token({ alg: "HS256", kid: "oct" }, {}, hmac)), "invalid_token");
	assert.equal(await enter(server, enc.token()), "invalid_token");
	assert.equal(await enter(server, ed.token()), "auth_success");
});

test("a new key is fetched at its first token, and unknown ones make no flood", async () => {
	const { issuer, server } = await deploy([ed]);
	assert.equal(await enter(server, ed.token()), "auth_success");
	const rotated = key("ES256", "rotated");
	issuer.keys = [rotated.jwk];
	// Within thirty seconds of the last fetch there is no other, whoever needs one.
	const unknown = Array.from({ length: 20 }, (_, index) => enter(server, rotated.token({}, { kid: `k${index}` })));
	assert.deepEqual(new Set(await Promise.all(unknown)), new Set(["keys_unavailable"]), "not final: it may be new");
	assert.equal(issuer.fetches, 1);
	// Nor does an object in a new life need one: it uses the keys that its isolate has fetched.
	issuer.answer = () => [500, "{}"];
	await server.evict("org_1", "close");
	assert.equal(await enter(server, ed.token()), "auth_success");
	assert.equal(await enter(server, rotated.token()), "keys_unavailable");
	assert.equal(issuer.fetches, 1);
});

test("an isolate that has fetched nothing yet sees the rotation", async () => {
	const { issuer, server } = await deploy([ed]);
	assert.equal(await enter(server, ed.token()), "auth_success");
	const rotated = key("ES256", "rotated");
	issuer.keys = [rotated.jwk];
	const another = await start({}, { vars: { JWKS_URL: issuer.url } });
	after(() => another.dispose());
	assert.equal(await enter(another, rotated.token()), "auth_success");
	assert.equal(await enter(another, ed.token()), "keys_unavailable");
	assert.equal(issuer.fetches, 2);
});

test("many who come at once share one fetch", async () => {
	const { issuer, server } = await deploy([ed]);
	const answers = await Promise.all(Array.from({ length: 20 }, () => enter(server, ed.token())));
	assert.deepEqual(new Set(answers), new Set(["auth_success"]));
	assert.equal(issuer.fetches, 1);
});

test("frames sent right behind the auth frame wait for the keys, in their order", async () => {
	const { issuer, server } = await deploy([ed]);
	const { promise: asked, resolve: ask } = Promise.withResolvers();
	const { promise: allowed, resolve: allow } = Promise.withResolvers();
	const answer = issuer.answer;
	issuer.answer = async () => {
		ask();
		await allowed;
		return answer();
	};
	const client = await connect(socketUrl(server));
	client.send({ type: "auth", token: ed.token() });
	for (let index = 0; index < 20; index += 1) client.send({ type: "subscribe", id: `${index}`, table: `t${index}` });
	client.send({ type: "auth", token: ed.token({ roles: ["later"] }) });
	client.send({ type: "unsubscribe", id: "0" });
	await asked;
	// Others are served meanwhile.
	assert.equal(await enter(server, tokenOf("u")), "auth_success");
	assert.equal(client.frames.length, 0);
	allow();
	const frames = (await unread(client)).map(({ type, id }) => (id ? `${type} ${id}` : type));
	const subscribed = [...Array(20).keys()].map((id) => `subscribed ${id}`);
	assert.deepEqual(frames, ["auth_success", ...subscribed, "auth_success", "unsubscribed 0"]);
	await client.close();
});

const failures = {
	"answers 500": () => [500, "{}"],
	"answers with no JSON": () => [200, "<html>"],
	"answers with something else": () => [200, "[]"],
	"answers with 300 KB": () => [200, JSON.stringify({ keys: [], padding: "x".repeat(300_000) })],
};
for (const [what, answer] of Object.entries(failures)) {
	test(`while the issuer ${what}, its tokens are told to come later`, async () => {
		const { issuer, server } = await deploy([ed]);
		issuer.answer = answer;
		const client = await connect(socketUrl(server));
		client.send({ type: "auth", token: ed.token() });
		assert.equal((await client.next()).code, "keys_unavailable");
		assert.deepEqual(await client.closed, { code: 1013, reason: "keys_unavailable" });
		const response = await askForTicket(server, ed.token());
		assert.deepEqual([response.status, (await response.json()).error.code], [503, "keys_unavailable"]);
		assert.equal(await enter(server, tokenOf("u")), "auth_success");
		const fetches = issuer.fetches;
		assert.equal(await enter(server, ed.token()), "keys_unavailable");
		assert.equal(issuer.fetches, fetches, "a failing issuer is left in peace");
	});
}

test("nobody listening at the issuer's address is an issuer that is down", async () => {
	const server = await start({}, { vars: { JWKS_URL: "http://127.0.0.1:9/keys" } });
	after(() => server.dispose());
	assert.equal(await enter(server, ed.token()), "keys_unavailable");
});

test("while keys are fetched no channel of a client of Supabase loses its fresh token", async () => {
	const { issuer, server } = await deploy([ec]);
	let release;
	const released = new Promise((resolve) => (release = resolve));
	issuer.answer = async () => [await released, JSON.stringify({ keys: issuer.keys })];
	const apikey = signToken({ role: "anon", ref: "org_1", exp: now() + 600 }, JWT_SECRET);
	const client = await connect(socketUrl(server, { apikey, vsn: "2.0.0" }));
	const channels = Array.from({ length: 60 }, (_, n) => `realtime:${n}`);
	const push = (topic, ref, event, payload) => client.send([topic, ref, topic, event, payload]);
	/** The channels of the next system messages: each reports that its changes are live, in any order. */
	const live = async () => {
		const told = [];
		while (told.length < channels.length) told.push((await client.next(([, , , event]) => event === "system"))[2]);
		return told.sort();
	};
	const config = { postgres_changes: [{ event: "*", schema: "public", table: "people" }], presence: { enabled: false } };
	for (const topic of channels) push(topic, topic, "phx_join", { config });
	assert.deepEqual(await live(), [...channels].sort());
	for (const topic of channels) push(topic, null, "access_token", { access_token: ec.token({ role: "authenticated" }) });
	// Other frames wait too, but no more than 32: the next one is answered, and by then all tokens have arrived.
	for (let n = 1; n <= 33; n += 1) push(channels[0], `${n}`, "broadcast", { type: "broadcast", event: "e", payload: {} });
	assert.equal((await client.next(([, , , , payload]) => payload.status === "error"))[1], "33");
	release(200);
	assert.deepEqual(await live(), [...channels].sort());
	assert.equal(issuer.fetches, 1);
	await client.close();
});

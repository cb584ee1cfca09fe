/**
 * Admission of Supabase's clients: which key and version open a socket, at which organization, and the answers to all
 * others.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { after, test } from "node:test";
import { connect, UpgradeRefused } from "../client.mjs";
import { ACCESS_TOKEN, now, socketUrl, start, stats, tokenOf } from "../fixture.mjs";

const PUBLISHABLE = "sb_publishable_2dG9rZW4gb2YgdGhlIHNwZWNz_q7Zt3w";
const hash = createHash("sha256").update(PUBLISHABLE).digest("hex");
const API_KEYS = JSON.stringify([{ name: "web", hash, organizationId: "sold", roles: ["anon"] }]);

const server = await start({ limits: { connections: 2 } }, { vars: { API_KEYS, DEFAULT_ORGANIZATION: "main" } });
after(() => server.dispose());
const hosted = await start({}, { vars: { API_KEYS, DEFAULT_ORGANIZATION: "main", ORGANIZATION_DOMAIN: "example.com" } });
after(() => hosted.dispose());
const guarded = await start({}, { vars: { ALLOWED_ORIGINS: "https://app.example" } });
after(() => guarded.dispose());

/** A key that Supabase issues publicly. */
const anon = (project, claims) =>
	tokenOf(undefined, undefined, { organizationId: undefined, roles: undefined, iss: "supabase", ref: project, role: "anon", ...claims });

/** Opens a socket and closes it again; returns how many connections the organization had meanwhile. */
async function connections(organization, parameters, options) {
	const client = await connect(socketUrl(server, parameters), options);
	const { connections } = await stats(server, organization);
	await client.close();
	return connections;
}

async function refused(parameters, status, error, code, { on = server, ...options } = {}) {
	const refusal = await connect(socketUrl(on, parameters), options).catch((refusal) => refusal);
	assert.ok(refusal instanceof UpgradeRefused, String(refusal));
	assert.deepEqual([refusal.status, JSON.parse(refusal.body)], [status, { error, code }]);
}

/** Publishes over HTTP at a host; returns the status. */
async function publishAt(host, key, messages) {
	const headers = { host, ...key, "content-type": "application/json" };
	const url = `${hosted.url}/realtime/v1/api/broadcast`;
	const body = JSON.stringify({ messages });
	const answer = await new Promise((resolve) => request(url, { method: "POST", headers }, resolve).end(body));
	return answer.statusCode;
}

test("every version that is spoken opens a socket at the key's organization", async () => {
	for (const parameters of [{ vsn: "1.0.0" }, { vsn: "2.0.0" }, {}]) {
		assert.equal(await connections("abc", { apikey: anon("abc"), ...parameters }), 1);
	}
	const more = { log_level: "loud", eventsPerSecond: "10", organizationId: "other" };
	assert.equal(await connections("abc", { apikey: anon("abc"), ...more, vsn: "2.0.0" }), 1);
});

test("a version that is not spoken is refused", async () => {
	for (const vsn of ["3.0.0", "1.1.0", "2", "two"]) {
		await refused({ apikey: anon("abc"), vsn }, 403, "The vsn must match ~> 1.0.0 or ~> 2.0.0", "invalid_request");
	}
});

test("the key may be a publishable one, and may stand in a header", async () => {
	assert.equal(await connections("sold", { apikey: PUBLISHABLE, vsn: "2.0.0" }), 1);
	assert.equal(await connections("sold", { apikey: `${PUBLISHABLE}\n`, vsn: "2.0.0" }), 1);
	const headers = { "x-api-key": encodeURIComponent(` ${PUBLISHABLE}`) };
	assert.equal(await connections("sold", { apikey: anon("abc"), vsn: "2.0.0" }, { headers }), 1);
	assert.equal(await connections("sold", { vsn: "2.0.0" }, { headers }), 1);
});

test("the host says which organization, where the key is good for it", async () => {
	const host = (host) => ({ headers: { host } });
	const several = anon(undefined, { organizations: { abc: "member", def: "member" } });
	assert.equal(await connections("def", { apikey: several, vsn: "2.0.0" }, host("def.example.com")), 1);
	assert.equal(await connections("abc", { apikey: anon("abc"), vsn: "2.0.0" }, host("def.example.com")), 1);
	await refused({ apikey: several, vsn: "2.0.0" }, 404, "Tenant not found", "wrong_organization");
});

test("at an organization's host a key of another is refused", async () => {
	const at = (host) => ({ on: hosted, headers: { host } });
	for (const apikey of [anon("abc"), anon(undefined), PUBLISHABLE]) {
		await refused({ apikey, vsn: "2.0.0" }, 404, "Tenant not found", "wrong_organization", at("def.example.com"));
	}
	await (await connect(socketUrl(hosted, { apikey: anon("def"), vsn: "2.0.0" }), at("def.example.com"))).close();
	const publish = (host) => publishAt(host, { apikey: anon("abc") }, []);
	assert.deepEqual([await publish("abc.example.com"), await publish("def.example.com")], [202, 401]);
});

test("at an organization's host the access token publishes to it, and to no default one", async () => {
	const message = { topic: "room", event: "e", payload: {}, private: true };
	const offsets = () => Promise.all(["def", "main"].map(async (name) => (await stats(hosted, name)).offset));
	const before = await offsets();
	const publish = (host) => publishAt(host, { authorization: `Bearer ${ACCESS_TOKEN}` }, [message]);
	assert.equal(await publish("def.example.com"), 202);
	assert.deepEqual(await offsets(), [before[0] + 1, before[1]]);
	assert.equal(await publish("localhost"), 202);
	assert.deepEqual(await offsets(), [before[0] + 1, before[1] + 1]);
});

test("a key that names no organization opens the default one, where there is one", async () => {
	const apikey = anon(undefined);
	assert.equal(await connections("main", { apikey, vsn: "2.0.0" }), 1);
	await refused({ apikey, vsn: "2.0.0" }, 404, "Tenant not found", "wrong_organization", { on: guarded });
});

test("a key that is not good is refused in Supabase's words", async () => {
	await refused({ vsn: "2.0.0" }, 401, "API key is missing", "unauthorized");
	await refused({ apikey: "nonsense", vsn: "1.0.0" }, 401, "The token provided is not a valid JWT", "invalid_token");
	await refused({ apikey: anon("abc", { exp: now() - 60 }) }, 401, "Token has expired", "token_expired");
	const roleless = "Fields `role` and `exp` are required in JWT";
	await refused({ apikey: anon("abc", { role: undefined }) }, 401, roleless, "invalid_token");
	await refused({ apikey: anon("abc", { exp: undefined }) }, 401, roleless, "invalid_token");
	const forged = anon("abc").replace(/.{10}$/, "AAAAAAAAAA");
	await refused({ apikey: forged }, 401, "Failed to validate JWT signature", "invalid_token");
});

test("an organization that is full takes no further connection, and says so", async () => {
	const parameters = { apikey: anon("full"), vsn: "2.0.0" };
	const clients = await Promise.all([1, 2].map(() => connect(socketUrl(server, parameters))));
	for (const vsn of ["1.0.0", "2.0.0"]) {
		await refused({ ...parameters, vsn }, 429, "Too many connected users", "connection_limit");
	}
	assert.equal((await stats(server, "full")).connections, 2);
	await clients[0].close();
	await (await connect(socketUrl(server, parameters))).close();
	await clients[1].close();
});

test("only allowed pages connect, and only with an upgrade", async () => {
	const sentence = "The page's origin is not in ALLOWED_ORIGINS.";
	const foreign = { on: guarded, origin: "https://elsewhere.example" };
	await refused({ apikey: anon("abc"), vsn: "2.0.0" }, 403, sentence, "origin_not_allowed", foreign);
	const client = await connect(socketUrl(guarded, { apikey: anon("abc") }), { origin: "https://app.example" });
	await client.close();
	const url = socketUrl(server, { apikey: anon("abc"), vsn: "2.0.0" });
	const plain = await new Promise((resolve) => request(url, resolve).end());
	assert.equal(plain.statusCode, 426);
	assert.equal(JSON.parse(await text(plain)).code, "upgrade_required");
});

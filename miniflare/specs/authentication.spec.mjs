/**
 * The first frame and later ones: who is admitted, how refusals are worded, renewal, expiry.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, test } from "node:test";
import { connect, UpgradeRefused } from "../client.mjs";
import { insert, JWT_SECRET, join, message, now, publish, socketUrl, start, tokenOf, unread } from "../fixture.mjs";
import { signToken } from "../token.mjs";

const MACHINE_KEY = "qb_live_machine";
const USER_KEY = "qb_live_user";
const digest = (key) => createHash("sha256").update(key).digest("hex");
const vars = {
	API_KEYS: [
		{ name: "machine", hash: digest(MACHINE_KEY), organizationId: "org_1", roles: ["service"] },
		{ name: "user", hash: digest(USER_KEY), organizationId: "org_1", userId: "uma" },
	],
	JWT_ISSUER: "https://login.example",
	JWT_AUDIENCE: "realtime",
};
const server = await start({}, { vars });
after(() => server.dispose());

const meant = { iss: "https://login.example", aud: ["web", "realtime"] };
const sign = (user, roles, claims) => tokenOf(user, roles, { ...meant, ...claims });
const enter = (user, roles, { claims, ...more } = {}) => join(server, user, roles, { claims: { ...meant, ...claims }, ...more });
const urls = {
	"with the organization in the URL": socketUrl(server),
	"with the organization in the frame": socketUrl(server, {}),
};

/** Opens a socket, sends one frame, and checks that it ends the connection. */
async function rejected(frame, code, { url = socketUrl(server), close = 1008 } = {}) {
	const client = await connect(url);
	client.send(frame);
	const { type, code: told, message: sentence } = await client.next();
	assert.deepEqual([type, told], ["auth_error", code]);
	assert.ok(sentence.length > 0);
	assert.deepEqual(await client.closed, { code: close, reason: code });
	assert.equal(client.frames.length, 1);
}

for (const [how, url] of Object.entries(urls)) {
	test(`a session token opens a connection ${how}`, async () => {
		const client = await connect(url);
		client.send({ type: "auth", token: sign("u7", ["admin", "hr"]), organizationId: "org_1" });
		assert.deepEqual(await client.next(), {
			type: "auth_success",
			organizationId: "org_1",
			userId: "u7",
			role: "admin",
			roles: ["admin", "hr"],
			authMethod: "session",
		});
		await client.close();
	});

	test(`an API key opens a connection ${how}`, async () => {
		const client = await connect(url);
		client.send({ type: "auth", token: USER_KEY, organizationId: "org_1" });
		const { userId, role, roles, authMethod } = await client.next();
		assert.deepEqual([userId, role, roles, authMethod], ["uma", null, [], "api_key"]);
		await client.close();
	});

	test(`every bad token is refused ${how}`, async () => {
		const good = sign("u");
		const [head, body, mac] = good.split(".");
		const other = Buffer.from(JSON.stringify({ ...meant, sub: "u", organizationId: "org_1", exp: now() + 60, roles: ["admin"] }));
		const none = Buffer.from('{"alg":"none"}').toString("base64url");
		const invalid = {
			"nothing like a token": "x",
			empty: "",
			"another body": `${head}.${other.toString("base64url")}.${mac}`,
			"no signature": `${head}.${body}.`,
			"alg none": `${none}.${body}.`,
			"alg none with a signature": `${none}.${body}.${mac}`,
			"another secret": signToken({ ...meant, sub: "u", organizationId: "org_1", exp: now() + 60 }, `${JWT_SECRET}x`),
			"no exp": sign("u", [], { exp: undefined }),
			"exp as text": sign("u", [], { exp: String(now() + 60) }),
			"not yet": sign("u", [], { nbf: now() + 60 }),
			"another issuer": sign("u", [], { iss: "https://evil.example" }),
			"no audience": sign("u", [], { aud: undefined }),
			"another audience": sign("u", [], { aud: "web" }),
			"an unknown key": "qb_live_unknown",
			"the digest of a key": digest(MACHINE_KEY),
			"17 KB": sign("u", [], { padding: "x".repeat(17_000) }),
		};
		for (const [what, token] of Object.entries(invalid)) {
			await rejected({ type: "auth", token, organizationId: "org_1" }, "invalid_token", { url }).catch((error) => {
				throw new Error(what, { cause: error });
			});
		}
		const expired = sign("u", [], { exp: now() - 31 });
		await rejected({ type: "auth", token: expired, organizationId: "org_1" }, "token_expired", { url });
		const strange = sign("u", [], { organizationId: "org_2" });
		await rejected({ type: "auth", token: strange, organizationId: "org_1" }, "wrong_organization", { url });
		await rejected({ type: "auth", token: MACHINE_KEY, organizationId: "org_2" }, "wrong_organization", { url });
	});

	test(`any other first frame ends the connection ${how}`, async () => {
		const first = [{ type: "subscribe", id: "s", table: "t" }, { type: "presence_track", metadata: {} }];
		first.push({ type: "broadcast", topic: "room:1", event: "e", payload: 1 }, { type: "unsubscribe", id: "s" });
		for (const frame of first) await rejected(frame, "auth_required", { url });
	});

	test(`what cannot be read is refused before authentication, and borne ${how}`, async () => {
		const client = await connect(url);
		const codes = [];
		for (const frame of ["no JSON", "[]", { type: "nothing" }, { type: "auth" }, { type: "auth", token: 1 }, Buffer.from("{}")]) {
			client.send(frame);
			codes.push((await client.next()).code);
		}
		const invalid = "invalid_frame";
		assert.deepEqual(codes, [invalid, invalid, "unknown_type", invalid, invalid, invalid]);
		client.send('{"type":"ping"}');
		assert.deepEqual(await client.next(), { type: "pong" });
		client.send({ type: "auth", token: sign("u"), organizationId: "org_1" });
		assert.equal((await client.next()).type, "auth_success");
		await client.close();
	});

	test(`the tenth unreadable frame ends the connection ${how}`, async () => {
		const client = await connect(url);
		for (let count = 0; count < 10; count += 1) client.send("no JSON");
		assert.deepEqual(await client.closed, { code: 1008, reason: "too_many_errors" });
		assert.equal(client.frames.length, 10);
	});
}

test("who does not authenticate within ten seconds is told and closed, whichever the URL", async () => {
	const wait = async (url, frames) => {
		const opened = Date.now();
		const client = await connect(url);
		for (const frame of frames) client.send(frame);
		assert.equal((await client.next(({ code }) => code === "auth_timeout")).type, "auth_error");
		assert.ok(Date.now() - opened >= 9_900);
		return client;
	};
	const silent = Object.values(urls).map((url) => wait(url, []));
	const talking = Object.values(urls).map((url) => wait(url, ['{"type": "ping"}', "no JSON"]));
	for (const client of await Promise.all(talking)) {
		assert.deepEqual(await client.closed, { code: 1008, reason: "auth_timeout" });
	}
	// workerd releases a closed socket that never sent anything up to ten seconds later. Its close frame has arrived.
	for (const client of await Promise.all(silent)) client.socket.terminate();
});

test("a token may name its organization and roles in several ways", async () => {
	const claims = [
		[{ organizationId: undefined, activeOrganizationId: "org_1", roles: undefined, role: "admin" }, ["admin"]],
		[{ organizationId: undefined, org_id: "org_1", role: "owner" }, ["member", "owner"]],
		[{ organizationId: undefined, ref: "org_1", role: "member" }, ["member"]],
		[{ organizationId: undefined, organizations: { org_1: ["hr", "admin"], org_2: "member" } }, ["hr", "admin"]],
		[{ organizationId: "org_2", organizations: { org_1: "guest" } }, ["guest"]],
	];
	for (const [more, roles] of claims) {
		const client = await enter("u", ["member"], { organizationId: "org_1", claims: { organizationId: "org_1", ...more } });
		assert.deepEqual(client.welcome.roles, roles);
		await client.close();
	}
	await rejected({ type: "auth", token: sign("u", [], { organizationId: undefined }) }, "wrong_organization");
});

test("a frame cannot name another organization than the URL", async () => {
	const token = sign("u", [], { organizations: { org_1: "member", org_2: "member" } });
	await rejected({ type: "auth", token, organizationId: "org_2" }, "wrong_organization");
});

test("a fresh token of the same user keeps the connection", async () => {
	const client = await enter("u", ["member"]);
	client.send({ type: "auth", token: sign("u", ["admin"]), organizationId: "org_1" });
	const { type, roles } = await client.next();
	assert.deepEqual([type, roles], ["auth_success", ["admin"]]);
	await client.close();
});

test("a later token is all that a later auth frame replaces", async () => {
	const client = await enter("u", ["member"], { recover: true, subscriptions: [{ id: "s1", table: "claims" }] });
	const { epoch, offset } = client.welcome;
	await publish(server, insert("claims", { id: 1 }, { userId: "u" }));
	const subscriptions = [{ id: "s2", table: "people" }];
	client.send({ type: "auth", token: sign("u", ["admin"]), recover: { epoch, offset }, subscriptions });
	await publish(server, insert("people", { id: 2 }, { userId: "u" }));
	await publish(server, insert("claims", { id: 3 }, { userId: "u" }));
	const [, first, { type, epoch: again, recovered }, ...rest] = await unread(client);
	assert.deepEqual([first.new.id, type, again, recovered], [1, "auth_success", undefined, undefined]);
	assert.deepEqual(rest.map((frame) => [frame.table, frame.new.id]), [["claims", 3]]);
	await client.close();
});

test("a later token that is bad, of another user or organization leaves the identity that stands", async () => {
	const client = await enter("u", ["admin"]);
	const later = [
		["x", "invalid_token"],
		[sign("other", ["admin"]), "wrong_user"],
		[USER_KEY, "wrong_user"],
		[sign("u", [], { organizationId: "org_2" }), "wrong_organization"],
		[sign("u", [], { exp: now() - 60 }), "token_expired"],
	];
	for (const [token, code] of later) {
		client.send({ type: "auth", token });
		const frame = await client.next();
		assert.deepEqual([frame.type, frame.code], ["error", code]);
	}
	await publish(server, message("for admins", { targetRoles: ["admin"], userId: "u" }));
	assert.equal((await unread(client)).length, 1);
	await client.close();
});

test("a token's end is told, and a fresh one keeps the connection", async () => {
	const client = await enter("u", ["member"], { claims: { exp: now() + 1 } });
	assert.deepEqual(await client.next(), { type: "auth_expired" });
	await publish(server, message("in the grace", { userId: "u" }));
	assert.equal((await unread(client)).length, 1);
	client.send({ type: "auth", token: sign("u"), organizationId: "org_1" });
	assert.equal((await client.next()).type, "auth_success");
	assert.deepEqual(await unread(client), []);
	await client.close();
});

test("the grace after a token's end is over after thirty seconds", async () => {
	const client = await enter("u", ["member"], { claims: { exp: now() - 25 } });
	assert.deepEqual(await client.next(), { type: "auth_expired" });
	assert.deepEqual(await client.closed, { code: 1008, reason: "token_expired" });
});

test("an API key does not expire, and without a user it owns nothing", async () => {
	const client = await connect(socketUrl(server));
	client.send({ type: "auth", token: MACHINE_KEY });
	const { userId, roles, authMethod } = await client.next();
	assert.deepEqual([userId, roles, authMethod], [null, ["service"], "api_key"]);
	await publish(server, message({ userId: null, email: "a@b.de" }, { maskingConfig: { email: { type: "email", show: { or: "owner" } } } }));
	assert.equal((await client.next()).payload.email, "a***@b.de");
	await client.close();
});

test("a server proves itself with a header", async () => {
	const headers = (token) => ({ headers: { authorization: `Bearer ${token}` } });
	const client = await connect(socketUrl(server), headers(sign("backend", ["service"])));
	assert.equal((await client.next()).userId, "backend");
	await client.close();
	const unicode = await connect(socketUrl(server), headers(sign("Zoë 山🦀", ["é"])));
	assert.deepEqual((await unicode.next()).userId, "Zoë 山🦀");
	await unicode.close();

	const refused = async (url, token, status, code) => {
		const error = await connect(url, headers(token)).catch((error) => error);
		assert.ok(error instanceof UpgradeRefused, String(error));
		assert.deepEqual([error.status, JSON.parse(error.body).error.code], [status, code]);
	};
	await refused(socketUrl(server), "x", 401, "invalid_token");
	await refused(socketUrl(server), sign("u", [], { exp: now() - 60 }), 401, "token_expired");
	await refused(socketUrl(server, { organizationId: "org_2" }), sign("u"), 403, "wrong_organization");
	await refused(socketUrl(server, {}), sign("u"), 400, "invalid_request");
});

test("nobody can hand the object a pass of their own", async () => {
	const principal = { user: "root", roles: ["admin"], method: "session", expires: null, claims: {} };
	const pass = JSON.stringify({ principal, ticket: null, recover: null });
	const client = await connect(socketUrl(server), { headers: { "x-realtime-pass": pass } });
	client.send({ type: "subscribe", id: "s", topic: "news" });
	assert.equal((await client.next()).code, "auth_required");
	for (const [method, path] of [["GET", "/open"], ["GET", "/stats"], ["POST", "/publish"]]) {
		const response = await fetch(server.url + path, { method, headers: { "x-realtime-pass": pass } });
		assert.ok([404, 405].includes(response.status));
	}
});

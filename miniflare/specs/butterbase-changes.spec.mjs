/**
 * Butterbase's clients: row changes with filters and masks, for users, the service and anonymous clients, and the control
 * plane that enables tables.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { APP, ButterbaseClient, change, control, deploy, SERVICE_KEY, userToken } from "../butterbase.mjs";
import { join } from "../fixture.mjs";

const server = await deploy({
	tables: {
		messages: {},
		notes: {
			rows: [{ column: "owner", claim: "sub" }],
			masking: { ssn: { type: "ssn", show: { roles: ["hr"] } } },
		},
		drafts: {},
		bare: {},
	},
	butterbase: { apps: { [APP]: { access: "public", listeners: -1, tables: ["messages", "notes", "bare"], public: ["messages"] } } },
});
after(() => server.dispose());

const user = (name, claims) => ButterbaseClient.connect(server, { token: userToken(name, claims) });

test("each credential has its role, in the address and in the header", async () => {
	const [anonymous, ann, service] = [{}, { token: userToken("ann") }, { header: SERVICE_KEY }];
	const roles = [[anonymous, "butterbase_anon"], [ann, "butterbase_user"], [service, "butterbase_service"]];
	for (const [credential, role] of roles) {
		const client = await ButterbaseClient.connect(server, credential);
		assert.deepEqual(client.frames, [{ type: "connected", app_id: APP, role }], "it comes first");
		const closing = role === "butterbase_user" ? { code: 4000, reason: "Heartbeat timeout" } : { code: 1000, reason: "Client disconnect" };
		await client.close(closing.code, closing.reason);
		assert.deepEqual(client.closes, [closing], "its own code comes back");
	}
});

test("changes of all kinds come whole, to those whose filter they match", async () => {
	const client = await user("ann");
	const filter = { room_id: "r1", archived: false };
	assert.deepEqual(await client.subscribe("messages", { filter }), { type: "subscribed", table: "messages", filter });
	const row = (more) => ({ id: 7, room_id: "r1", archived: false, ...more });
	await change(server, "messages", "INSERT", { new: row({ id: 6, room_id: "r2" }) });
	await change(server, "messages", "INSERT", { new: row({ id: 6, archived: "false" }) });
	await change(server, "messages", "INSERT", { new: row({ body: "hi" }) });
	await change(server, "messages", "UPDATE", { new: row({ body: "hi!" }), old: row({ body: "hi" }) });
	await change(server, "messages", "DELETE", { old: row({ body: "hi!" }) });
	await client.until(() => client.changes.length === 3);
	const told = client.changes.map(({ timestamp, ...told }) => {
		assert.match(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
		return told;
	});
	const expected = (op, record, old_record) => ({ type: "change", table: "messages", op, record, old_record });
	assert.deepEqual(told, [
		expected("INSERT", row({ body: "hi" }), null),
		expected("UPDATE", row({ body: "hi!" }), row({ body: "hi" })),
		expected("DELETE", null, row({ body: "hi!" })),
	]);
	assert.deepEqual(await client.ask({ type: "unsubscribe", table: "messages" }, "unsubscribed"), { type: "unsubscribed", table: "messages" });
	await change(server, "messages", "INSERT", { new: row() });
	await client.settled();
	assert.equal(client.changes.length, 3);
	await client.close();
});

test("a row is for whom a rule names, masked, and whole in no frame of anyone else", async () => {
	const [ann, ben, hr] = [await user("ann"), await user("ben"), await user("ann", { roles: ["hr"] })];
	const [service, nobody] = [await ButterbaseClient.connect(server, { token: SERVICE_KEY }), await ButterbaseClient.connect(server)];
	const all = [ann, ben, hr, service, nobody];
	for (const client of all) await client.subscribe("notes");
	const native = await join(server, "ann", [], { organizationId: APP });
	await change(server, "notes", "INSERT", { new: { id: 1, owner: "ann", ssn: "123-45-6789" } });
	await change(server, "notes", "DELETE", { old: { id: 1, owner: "ann", ssn: "123-45-6789" } });
	for (const client of all) await client.settled();
	const seen = (client) => client.changes.map(({ op, record, old_record: old }) => [op, (record ?? old).ssn]);
	const masked = [["INSERT", "*****6789"], ["DELETE", "*****6789"]];
	assert.deepEqual(seen(ann), masked);
	assert.deepEqual(seen(service), masked, "row rules let the service through, masks do not");
	assert.deepEqual(seen(hr), [["INSERT", "123-45-6789"], ["DELETE", "123-45-6789"]]);
	for (const client of [ben, nobody]) assert.deepEqual(seen(client), []);
	assert.doesNotMatch(JSON.stringify([ann, ben, service, nobody].map(({ frames }) => frames)), /123-45/);
	const told = await native.next(({ table }) => table === "notes");
	assert.equal(told.new.ssn, "*****6789", "one publication, in each dialect's frames");
	await Promise.all([...all, native].map((client) => client.close()));
});

test("a subscription to which nothing can come is told so, and stands", async () => {
	const client = await user("ann");
	await client.subscribe("drafts");
	await client.subscribe("bare");
	await client.until(() => client.of("warning").length === 2);
	const [drafts, bare] = client.of("warning");
	assert.deepEqual([drafts.code, drafts.table], ["TABLE_NOT_REALTIME_ENABLED", "drafts"]);
	assert.equal(drafts.remediation, `POST /v1/${APP}/realtime/configure {"tables":["drafts"]}`);
	assert.deepEqual([bare.code, bare.table], ["TABLE_HAS_NO_POLICY", "bare"]);
	await client.close();
});

test("the owner enables tables for subscriptions that stand, lists and disables them, also across a sleep", async () => {
	const server = await deploy({ tables: { messages: {} }, butterbase: { apps: { [APP]: { public: ["*"] } } } });
	after(() => server.dispose());
	const client = await ButterbaseClient.connect(server, { token: userToken("ann") });
	await client.subscribe("messages");
	const configure = (tables, token) => control(server, "POST", "/configure", { token, body: { tables } });
	const tell = (id) => change(server, "messages", "INSERT", { new: { id } });
	await tell(1);
	const [missing, refusal] = await configure(["messages", "nope"]);
	assert.deepEqual([missing, refusal.error.code], [404, "VALIDATION_TABLE_NOT_FOUND"]);
	assert.deepEqual(refusal.error.details, { missing_tables: ["nope"] });
	await tell(2);
	assert.deepEqual(await configure(["messages"]), [200, { configured: [{ table: "messages", status: "enabled" }] }]);
	await server.evict(APP, "hibernate");
	await tell(3);
	const [, config] = await control(server, "GET", "/config");
	assert.deepEqual([config.app_id, config.active_connection], [APP, true]);
	assert.equal(config.websocket_url, `${server.url.replace("http", "ws")}/v1/${APP}/realtime`);
	const { created_at, updated_at, ...table } = config.tables[0];
	assert.ok(Date.parse(created_at) <= Date.parse(updated_at));
	const events = ["INSERT", "UPDATE", "DELETE"];
	assert.deepEqual({ ...table, events: table.events.toSorted() }, {
		table_name: "messages", events: events.toSorted(), enabled: true, trigger_installed: true, drift: false,
	});
	assert.deepEqual(await control(server, "DELETE", "/messages"), [200, { table: "messages", status: "disabled" }]);
	await tell(4);
	await client.settled();
	assert.deepEqual(client.changes.map(({ record }) => record.id), [3]);
	assert.equal((await control(server, "GET", "/config"))[1].tables[0].enabled, false, "it stays listed");
	await client.close();
});

test("only the owner administers", async () => {
	const of = async (token, body) => {
		const [status, { error }] = await control(server, "POST", "/configure", { token, body });
		return [status, error.code];
	};
	const body = { tables: ["drafts"] };
	assert.deepEqual(await of(userToken("ann"), body), [403, "AUTH_INSUFFICIENT_PERMISSIONS"]);
	assert.deepEqual(await of("", body), [403, "AUTH_INSUFFICIENT_PERMISSIONS"]);
	assert.deepEqual(await of("bb_sk_of_nobody", body), [401, "AUTH_INVALID_API_KEY"]);
	assert.deepEqual(await of("a.b.c", body), [401, "AUTH_INVALID_TOKEN"]);
	assert.deepEqual(await of(SERVICE_KEY, { tables: [] }), [400, "VALIDATION_MISSING_FIELD"]);
});

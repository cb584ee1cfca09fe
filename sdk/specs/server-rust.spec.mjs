/**
 * The Rust crate inside an API worker (`sdk/rust/api`): through a service binding and at an address.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ACCESS_TOKEN, join, start, unread } from "../../miniflare/fixture.mjs";
import { listenToTypes } from "./server-rig.mjs";

const build = fileURLToPath(new URL("../rust/api/build/", import.meta.url));
const api = {
	modulesRoot: build,
	modules: [
		{ type: "ESModule", path: `${build}index.js` },
		{ type: "CompiledWasm", path: `${build}index_bg.wasm` },
	],
	compatibilityDate: "2026-07-30",
};
const bound = { ...api, name: "bound", bindings: { ACCESS_TOKEN }, serviceBindings: { REALTIME: "realtime-worker" } };
/** Its requests to the internet reach the Worker as well. */
const addressed = {
	...api,
	name: "addressed",
	bindings: { ACCESS_TOKEN, REALTIME_URL: "https://realtime.example.com/" },
	outboundService: "realtime-worker",
};
const unset = { ...api, name: "unset", bindings: { ACCESS_TOKEN } };
const server = await start({}, { workers: [bound, addressed, unset] });
after(() => server.dispose());

async function call(name, path = "/") {
	const { fetch } = await server.mf.getWorker(name);
	return (await fetch(`https://api.example.com${path}`)).json();
}

for (const name of ["bound", "addressed"]) {
	test(`an API worker in Rust publishes: ${name}`, async () => {
		const client = await join(server, "mel", ["member"]);
		assert.deepEqual(await call(name), { delivered: 7 });
		const change = { type: "postgres_changes", table: "claims", schema: "public" };
		const [open, closed] = [{ id: "c1", open: true }, { id: "c1", open: false }];
		assert.deepEqual(await unread(client), [
			{ ...change, eventType: "INSERT", new: { id: "c1", title: "F***" }, old: null },
			{ ...change, eventType: "UPDATE", new: closed, old: open },
			{ ...change, eventType: "DELETE", new: null, old: closed },
			{ type: "broadcast", event: "extraction:started", payload: { materialId: 1 } },
			{ type: "broadcast", event: "private", payload: 1 },
			{ type: "broadcast", event: "first", payload: 1 },
			{ type: "broadcast", event: "second", payload: 2 },
		]);
		assert.deepEqual(await call(name, "/refused"), { code: "invalid_request", status: 400, field: "event" });
		await client.close();
	});
}

test("the example of the crate's README publishes what it says", async () => {
	const [member, admin] = [await join(server, "mel", ["member"]), await join(server, "ada", ["admin"])];
	assert.deepEqual(await call("bound", "/readme"), { delivered: 2 });
	const [[masked], [clear]] = [await unread(member), await unread(admin)];
	assert.deepEqual([masked.new, masked.old.status], [{ id: "c1", status: "closed", ssn: "*****6789" }, "open"]);
	assert.equal(clear.new.ssn, "123-45-6789");
	await Promise.all([member.close(), admin.close()]);
});

test("an API worker in Rust says what is bytes, of which types columns are, and what is not to be kept", async () => {
	const client = await join(server, "mel", ["member"], { recover: true });
	const types = await listenToTypes(server, "payments");
	assert.deepEqual(await call("bound", "/kinds"), { delivered: 3 });
	assert.deepEqual(await types(), { id: "int8", amount: "numeric" });
	const bytes = { type: "broadcast", event: "waveform", payload: "AAEC", encoding: "base64" };
	const [row, { offset: _, ...heard }] = await unread(client);
	assert.deepEqual([row.new, heard], [{ id: "7", amount: "1.5" }, bytes]);
	const { epoch, offset } = client.welcome;
	const back = await join(server, "mel", ["member"], { recover: { epoch, offset } });
	assert.deepEqual((await unread(back)).map(({ event }) => event), ["waveform"]);
	await Promise.all([client.close(), back.close()]);
});

test("an API worker in Rust that is told no address says so", async () => {
	assert.deepEqual(await call("unset"), { code: "configuration", status: 0, field: null });
});

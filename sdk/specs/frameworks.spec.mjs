/** Vue's composables, Svelte's stores and TanStack's collection, with the real libraries, and the real Worker. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createCollection } from "@tanstack/db";
import { QueryClient } from "@tanstack/query-core";
import { get } from "svelte/store";
import { createSSRApp, effectScope, h } from "vue";
import { renderToString } from "vue/server-renderer";
import * as svelte from "realtime-worker/svelte";
import { collection, followQuery } from "realtime-worker/tanstack";
import * as vue from "realtime-worker/vue";
import { browser } from "realtime-worker/client";
import { insert, publish, remove, startRig, until, update } from "./client-rig.mjs";

const { server, open: openPlain } = await startRig({ history: { replay: 10 } });
const open = (t, options) => openPlain(t, { surroundings: { ...browser(), watch: () => () => {} }, ...options });
/** Svelte's stores go live only in a page. */
globalThis.document = {};

/** Runs a list through its life: read, inserted, updated, deleted. `ids` returns what it shows. */
async function live(table, ids, isLive) {
	await until(isLive);
	assert.deepEqual(ids(), ["a"]);
	await publish(server.url, insert(table, { id: "b", n: 1 }));
	await until(() => `${ids()}` === "a,b");
	await publish(server.url, update(table, { id: "b", n: 2 }, { id: "b", n: 1 }), remove(table, { id: "a" }));
	await until(() => `${ids()}` === "b");
}
const query = async () => [{ id: "a", n: 0 }];

test("Vue: useTable, useRealtime, useChanges and usePresence live as long as their scope", async (t) => {
	const client = open(t, {});
	const scope = effectScope();
	const changes = [];
	const { list, status, members } = scope.run(() => {
		vue.useChanges(client, "vue_claims", "UPDATE", ({ new: row }) => changes.push(row.n));
		return { list: vue.useTable(client, "vue_claims", { query }), status: vue.useRealtime(client), members: vue.usePresence(client.presence, { name: "Ada" }) };
	});
	await live("vue_claims", () => list.state.value.rows.map(({ id }) => id), () => list.state.value.status === "live");
	await until(() => changes.length === 1 && members.value[0]?.metadata.name === "Ada");
	assert.equal(status.value.state, "connected");
	scope.stop();
	const after = Promise.withResolvers();
	await client.on("after", "*", after.resolve).ready;
	await publish(server.url, insert("vue_claims", { id: "late" }), insert("after", {}));
	await after.promise;
	assert.deepEqual(list.state.value.rows.map(({ id }) => id), ["b"]);
});

test("Vue: a page that a server renders opens no connection", async (t) => {
	const client = open(t, {});
	const Page = { setup: () => { const { state } = vue.useTable(client, "claims", { query }); return () => h("p", state.value.status); } };
	assert.equal(await renderToString(createSSRApp(Page)), "<p>loading</p>");
	await new Promise(setImmediate);
	assert.equal(client.status.state, "idle");
});

test("Svelte: a table, the status and presence live while somebody looks", async (t) => {
	const [client, other] = [open(t, {}), open(t, {})];
	const watched = [];
	await other.topic("room:svelte").presence.on((members) => watched.push(members.map(({ metadata }) => metadata.name).join())).ready;
	const claims = svelte.table(client, "svelte_claims", { query });
	const seen = [];
	const offs = [claims.subscribe((one) => seen.push(one)), svelte.presence(client.topic("room:svelte").presence, { name: "Ada" }).subscribe((one) => seen.push(one))];
	assert.equal(seen[0].status, "loading");
	const list = () => seen.findLast((one) => one.rows);
	await live("svelte_claims", () => list().rows.map(({ id }) => id), () => list().status === "live");
	await until(() => seen.some((one) => one[0]?.metadata?.name === "Ada") && watched.at(-1) === "Ada");
	assert.equal(get(svelte.status(client)).state, "connected");
	for (const off of offs) off();
	await until(() => watched.at(-1) === "");
});

test("Vue and Svelte: the broadcasts of a topic, and a way to send there", async (t) => {
	const client = open(t, {});
	const scope = effectScope();
	const heard = [];
	const send = scope.run(() => vue.useBroadcast(client.topic("room:both"), "cursor", ({ payload }) => heard.push(payload)));
	const latest = [];
	const off = svelte.broadcast(client.topic("room:both"), "cursor").subscribe((one) => latest.push(one?.payload));
	await client.on("barrier", "*", () => {}).ready;
	await send("cursor", 1);
	await until(() => heard.length === 1 && latest.length === 2);
	assert.deepEqual([heard, latest], [[1], [undefined, 1]]);
	scope.stop();
	off();
	await client.on("left", "*", () => {}).ready;
	await send("cursor", 2);
	await client.on("sent", "*", () => {}).ready;
	assert.deepEqual([heard.length, latest.length], [1, 2]);
});

test("TanStack DB: a collection has the rows of the table", async (t) => {
	const client = open(t, {});
	const claims = createCollection({ ...collection(client, "tanstack_claims", { query }), startSync: true });
	await claims.stateWhenReady();
	const ids = () => [...claims.values()].map(({ id }) => id).sort();
	await live("tanstack_claims", ids, () => claims.size === 1 && client.status.state === "connected");
	assert.deepEqual({ ...claims.get("b") }.n, 2);
	await claims.cleanup();
});

test("TanStack Query: a query has the rows of the table, until it is let go", async (t) => {
	const client = open(t, {});
	const cache = new QueryClient();
	const end = followQuery(cache, ["claims"], client, "query_claims", { query });
	const ids = () => (cache.getQueryData(["claims"]) ?? []).map(({ id }) => id).sort();
	await live("query_claims", ids, () => ids().length === 1 && client.status.state === "connected");
	end();
	const after = Promise.withResolvers();
	await client.on("after_query", "*", after.resolve).ready;
	await publish(server.url, insert("query_claims", { id: "late" }), insert("after_query", {}));
	await after.promise;
	assert.deepEqual(ids(), ["b"]);
});

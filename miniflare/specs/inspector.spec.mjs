/**
 * The page for development: served only where it is asked for, and without anything from elsewhere.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startServer } from "../server.mjs";

const secrets = { ACCESS_TOKEN: "a".repeat(32), JWT_SECRET: "j".repeat(32) };
const [off, on] = await Promise.all([
	startServer({ vars: secrets, onLog: () => {} }),
	startServer({ vars: { ...secrets, INSPECTOR: "on" }, onLog: () => {} }),
]);
after(() => Promise.all([off.dispose(), on.dispose()]));

test("without INSPECTOR there is no page", async () => {
	for (const path of ["/", "/index.html", "/app.js", "/style.css"]) {
		const response = await fetch(off.url + path);
		assert.equal(response.status, 404, path);
		assert.equal((await response.json()).error.code, "not_found", path);
	}
});

test("with INSPECTOR the page and all that it names are served", async () => {
	const response = await fetch(on.url);
	assert.equal(response.status, 200);
	assert.match(response.headers.get("content-type"), /^text\/html/);
	const page = await response.text();
	const parts = [...page.matchAll(/(?:src|href)="([^":]+)"/g)].map(([, path]) => path);
	assert.deepEqual(parts.toSorted(), ["app.js", "style.css"]);
	for (const [path, type] of [["app.js", /javascript/], ["style.css", /^text\/css/]]) {
		const part = await fetch(`${on.url}/${path}`);
		assert.equal(part.status, 200, path);
		assert.match(part.headers.get("content-type"), type, path);
	}
});

test("the page lets nothing run or load but its own files", async () => {
	const page = await (await fetch(on.url)).text();
	assert.match(page, /Content-Security-Policy" content="default-src 'none'; script-src 'self';/);
	assert.doesNotMatch(page, /<script(?![^>]* src=)|<style| on\w+=| style=/i);
	const script = await (await fetch(`${on.url}/app.js`)).text();
	assert.doesNotMatch(script, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b/);
});

test("the page hides nothing that the Worker answers itself", async () => {
	assert.equal((await fetch(`${on.url}/health`)).status, 200);
	assert.equal((await fetch(`${on.url}/realtime/v1/websocket`)).status, 426);
	assert.equal((await fetch(`${on.url}/nothing`)).status, 404);
	assert.equal((await fetch(`${on.url}/`, { method: "POST" })).status, 405);
});

/**
 * The Inspector's files: served only if enabled, complete, and without foreign resources.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { start } from "../fixture.mjs";

const [off, other, on] = await Promise.all([start(), start({}, { vars: { INSPECTOR: "true" } }), start({}, { vars: { INSPECTOR: "on" } })]);
after(() => Promise.all([off, other, on].map((server) => server.dispose())));

const get = (path) => fetch(new URL(path, on.url));

/** Every script of the page: those that it names, and their imports. */
async function scripts() {
	const found = new Map();
	const waiting = ["/app.js"];
	for (let path = waiting.pop(); path; path = waiting.pop()) {
		if (found.has(path)) continue;
		const response = await get(path);
		assert.equal(response.status, 200, path);
		assert.match(response.headers.get("content-type"), /javascript/, path);
		const text = await response.text();
		found.set(path, text);
		for (const [, name] of text.matchAll(/^import [^"]*"\.(\/[^"]+)";$/gm)) waiting.push(name);
	}
	return found;
}

test("unless INSPECTOR is on there is no page", async () => {
	for (const server of [off, other]) {
		for (const path of ["/", "/index.html", "/app.js", "/client.js", "/style.css"]) {
			const response = await fetch(server.url + path);
			assert.equal(response.status, 404, path);
			assert.equal((await response.json()).error.code, "not_found", path);
		}
	}
});

test("the page and all that it is made of are served, the built client among them", async () => {
	const response = await get("/");
	assert.equal(response.status, 200);
	assert.match(response.headers.get("content-type"), /^text\/html/);
	const page = await response.text();
	const parts = [...page.matchAll(/(?:src|href)="([^":#]+)"/g)].map(([, path]) => path);
	assert.deepEqual(parts.toSorted(), ["app.js", "parts.css", "style.css"]);
	for (const path of parts) assert.equal((await get(path)).status, 200, path);
	const paths = [...(await scripts()).keys()];
	assert.ok(paths.includes("/client.js") && paths.length > 15, paths.join());
});

test("the page lets nothing run or load but its own files", async () => {
	const response = await get("/");
	const page = await response.text();
	const [, inPage] = page.match(/Content-Security-Policy" content="([^"]+)"/);
	const header = response.headers.get("content-security-policy");
	// A page cannot forbid by itself that it is framed.
	assert.equal(header.replace(" frame-ancestors 'none';", ""), inPage);
	for (const rule of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "trusted-types 'none'"]) assert.ok(header.includes(rule), rule);
	assert.equal(response.headers.get("x-content-type-options"), "nosniff");
	assert.equal(response.headers.get("referrer-policy"), "no-referrer");
	assert.doesNotMatch(page, /<script(?![^>]* src=)|<style| on\w+=| style=/i);
});

test("the page's scripts make no markup of texts, keep nothing and name no other place", async () => {
	for (const [path, text] of await scripts()) {
		assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function/, path);
		if (path === "/client.js") continue; // Its examples are comments.
		assert.doesNotMatch(text, /localStorage|sessionStorage|indexedDB|document\.cookie|caches\./, path);
		assert.doesNotMatch(text.replaceAll("http://www.w3.org/2000/svg", ""), /https?:\/\//, path);
	}
});

test("the page hides nothing that the Worker answers itself", async () => {
	assert.equal((await get("/health")).status, 200);
	assert.equal((await get("/realtime/v1/websocket")).status, 426);
	assert.equal((await get("/nothing")).status, 404);
	assert.equal((await fetch(on.url, { method: "POST" })).status, 405);
});

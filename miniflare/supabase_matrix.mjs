/**
 * The matrix of Supabase's clients in docs/protocol-supabase.md. Specs declare its rows with `behaviour`, which runs
 * the same script with each client and compares the page with the results. Run as a program after `cargo xtask test
 * supabase`, this file writes the rows.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { CLIENTS, Tenant } from "./supabase.mjs";

const PAGE = fileURLToPath(new URL("../docs/protocol-supabase.md", import.meta.url));
const SPECS = fileURLToPath(new URL("specs/", import.meta.url));
/** The results of each spec, and of all. */
const OUTCOMES = fileURLToPath(new URL("../build/supabase-matrix/", import.meta.url));
const MATRIX = fileURLToPath(new URL("../build/supabase-matrix.json", import.meta.url));
const MARKER = "<!-- table: supabase clients -->\n";

/** One client after the other, each with a separate deployment. */
export const ALONE = { concurrency: false };

/** For each behaviour of this process, the clients that have it. */
const outcomes = new Map();

/**
 * A line of the matrix: the same script with each client, each in an organization of its own.
 *
 * @param {object} server
 * @param {string} name
 * @param {(tenant: Tenant, client: object) => Promise<void>} body
 * @param {{lacks?: (client: object) => boolean, concurrency?: boolean}} [options] `lacks`: which clients have no such thing
 */
export function behaviour(server, name, body, { lacks = () => false, concurrency = true } = {}) {
	if (outcomes.size === 0) after(compare);
	const line = new Map();
	outcomes.set(name, line);
	describe(name, { concurrency }, () => {
		for (const client of CLIENTS) {
			if (lacks(client)) line.set(client.name, false);
			else test(client.name, () => run(server, client, body).then(() => line.set(client.name, true)));
		}
	});
}

async function run(server, client, body) {
	const tenant = new Tenant(server, client);
	try {
		await body(tenant, client);
	} finally {
		await tenant.close();
	}
}

/** The page's rows equal those of this run. A partial or failed run proves nothing about the others. */
function compare() {
	const complete = [...outcomes].filter(([, line]) => line.size === CLIENTS.length);
	const found = complete.map(([name, line]) => [name, Object.fromEntries(line)]);
	if (found.length === outcomes.size) {
		mkdirSync(OUTCOMES, { recursive: true });
		writeFileSync(`${OUTCOMES}${basename(process.argv[1])}.json`, JSON.stringify(found, null, "\t"));
	}
	const written = table().lines;
	const missing = found.map(lineOf).filter((line) => !written.includes(line));
	assert.deepEqual(missing, [], "docs/protocol-supabase.md: run `node miniflare/supabase_matrix.mjs`");
}

function lineOf([name, line]) {
	return `| ${[name, ...CLIENTS.map((client) => (line[client.name] ? "✓" : "–"))].join(" | ")} |`;
}

/** The page around its matrix, and the matrix's rows. */
export function table() {
	const page = readFileSync(PAGE, "utf8");
	const start = page.indexOf(MARKER) + MARKER.length;
	assert.ok(start >= MARKER.length, `docs/protocol-supabase.md has no line ${MARKER}`);
	const end = start + page.slice(start).search(/\n(?!\|)/);
	return { before: page.slice(0, start), lines: page.slice(start, end).split("\n"), after: page.slice(end) };
}

/** The results of every existing spec. */
function collect() {
	const files = readdirSync(OUTCOMES).filter((file) => existsSync(SPECS + basename(file, ".json")));
	return files.sort().flatMap((file) => JSON.parse(readFileSync(OUTCOMES + file, "utf8")));
}

function write() {
	const all = collect();
	writeFileSync(MATRIX, `${JSON.stringify(Object.fromEntries(all), null, "\t")}\n`);
	const head = ["Behaviour", ...CLIENTS.map(({ name }) => name)];
	const lines = [`| ${head.join(" | ")} |`, `|${"---|".repeat(head.length)}`, ...all.map(lineOf)];
	const { before, after } = table();
	writeFileSync(PAGE, before + lines.join("\n") + after);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) write();

/**
 * `cargo xtask bench`: measures the Worker against a bare Durable Object in JavaScript and against what was aimed at.
 *
 *   --sockets 1000,10000   sockets of the fan-out
 *   --frames 50000         frames of one round of the fan-out
 *   --rounds 9             measurements of each side, of which the median counts; the fan-out cuts them into shorter turns
 *   --only fan-out,native  some of: native, start-up, nobody, fan-out, idle, supabase, dialects, growth, batch; and what runs only where it is
 *                          asked for: source, which needs PostgreSQL here, peers, which installs packages, and memory, which opens
 *                          32,000 sockets, and relays, which opens 18,000
 *   --json <path>          where the table goes as JSON, unless to bench.json in the target folder
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { BATCH_SOCKETS, batch } from "./batch.mjs";
import { DIALECT_SOCKETS, dialects } from "./dialects.mjs";
import { fanOut } from "./fan_out.mjs";
import { checkOpenFiles } from "./fleet.mjs";
import { GROWTH_SOCKETS, growth } from "./growth.mjs";
import { IDLE_SOCKETS, idle } from "./idle.mjs";
import { MEMORY_SOCKETS, memory } from "./memory.mjs";
import { native } from "./native.mjs";
import { nobody } from "./nobody.mjs";
import { PEERS_SOCKETS, peers } from "./peers.mjs";
import { RELAYS_SOCKETS, relays } from "./relays.mjs";
import { SOURCE_SOCKETS, source } from "./source.mjs";
import { startUp } from "./start_up.mjs";
import { SUPABASE_SOCKETS, supabase } from "./supabase.mjs";
import { format } from "./table.mjs";

const TARGET = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL("../../target", import.meta.url));
const PARTS = { native, "start-up": startUp, nobody, "fan-out": fanOut, idle, supabase, dialects, growth, batch, source, peers, memory, relays };
/** What needs more than this project brings, or more sockets than a machine may open as it is. */
const ASKED_FOR = ["source", "peers", "memory", "relays"];

function readArguments() {
	const { values } = parseArgs({
		options: {
			sockets: { type: "string", default: "1000,10000" },
			frames: { type: "string", default: "50000" },
			rounds: { type: "string", default: "9" },
			only: { type: "string", default: Object.keys(PARTS).filter((part) => !ASKED_FOR.includes(part)).join() },
			json: { type: "string", default: resolve(TARGET, "bench.json") },
		},
	});
	const parts = values.only.split(",");
	const unknown = parts.find((part) => !(part in PARTS));
	if (unknown !== undefined) throw new Error(`--only ${unknown}: there are ${Object.keys(PARTS).join(", ")}`);
	return {
		parts,
		json: values.json,
		sockets: values.sockets.split(",").map((size) => count("sockets", size)),
		frames: count("frames", values.frames),
		rounds: count("rounds", values.rounds),
	};
}

function count(name, text) {
	if (!/^[1-9]\d*$/.test(text)) throw new Error(`--${name} ${text} is not a number of them`);
	return Number(text);
}

function checkSockets({ parts, sockets }) {
	const needs = { "fan-out": sockets.reduce((sum, size) => sum + size, 0), idle: IDLE_SOCKETS, supabase: SUPABASE_SOCKETS, dialects: DIALECT_SOCKETS, growth: GROWTH_SOCKETS, batch: BATCH_SOCKETS, source: SOURCE_SOCKETS, peers: PEERS_SOCKETS, memory: MEMORY_SOCKETS, relays: RELAYS_SOCKETS };
	checkOpenFiles(Math.max(0, ...parts.map((part) => needs[part] ?? 0)));
}

async function main() {
	const options = readArguments();
	checkSockets(options);
	const rows = [];
	for (const part of options.parts) {
		console.error(`bench: ${part}`);
		const measured = await PARTS[part](options);
		for (const { name, worker, unit } of measured) console.error(`  ${name}: ${worker} ${unit}`);
		rows.push(...measured);
	}
	console.log(format(rows));
	mkdirSync(dirname(options.json), { recursive: true });
	writeFileSync(options.json, `${JSON.stringify({ options, rows }, undefined, "\t")}\n`);
	console.log(`\n${options.json}`);
}

try {
	await main();
} catch (error) {
	console.error(`error: ${error.message}`);
	process.exitCode = 1;
}

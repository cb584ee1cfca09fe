/**
 * realtime.config.ts, in which an application declares what it publishes, and to whom.
 */
import { existsSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const NAMES = ["realtime.config.ts", "realtime.config.mjs", "realtime.config.js"];

/** Removes an option, such as `--config`, from the arguments. */
export function takeOption(given, name) {
	const index = given.findIndex((one) => one === name || one.startsWith(`${name}=`));
	if (index < 0) return { value: undefined, rest: given };
	const [, inline] = given[index].split(/=(.*)/s);
	const value = inline ?? given[index + 1];
	if (!value || (inline === undefined && value.startsWith("--"))) throw new Error(`${name} needs a value`);
	return { value, rest: given.toSpliced(index, inline === undefined ? 2 : 1) };
}

/**
 * Loads the configuration; an empty one if there is none and none is named.
 *
 * @param {string | undefined} file
 */
export async function loadConfig(file) {
	const path = file ? resolve(file) : NAMES.map((name) => resolve(name)).find(existsSync);
	if (!path) return {};
	if (!existsSync(path)) throw new Error(`${file} is not there`);
	const module = await load(path);
	const config = module.default ?? module;
	if (typeof config !== "object") throw new Error(`${path} has no object as its default export`);
	return config;
}

/**
 * Bundles it if wrangler is installed with its bundler, because a schema's imports may lack extensions; otherwise Node
 * imports it.
 */
async function load(path) {
	const esbuild = bundler();
	if (!esbuild) return import(pathToFileURL(path).href);
	// Beside the file, so that it finds the same packages.
	const outfile = join(dirname(path), `.realtime.config.${process.pid}.mjs`);
	try {
		const format = { bundle: true, packages: "external", platform: "node", format: "esm" };
		await esbuild.build({ entryPoints: [path], ...format, outfile, logLevel: "silent" });
		return await import(pathToFileURL(outfile).href);
	} finally {
		rmSync(outfile, { force: true });
	}
}

function bundler() {
	try {
		const here = createRequire(resolve("package.json"));
		return createRequire(here.resolve("wrangler/package.json"))("esbuild");
	} catch {
		return undefined;
	}
}

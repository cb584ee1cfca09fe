/**
 * The package as its users receive it: packed from the files of a clean clone, and installed in fresh projects.
 */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const checkout = fileURLToPath(new URL("../..", import.meta.url));
const sdk = `${checkout}sdk/`;

/** Runs a program to completion; if it fails, the error contains its output. */
export async function run(cwd, program, ...given) {
	const env = { ...process.env, CI: "1", WRANGLER_SEND_METRICS: "false", DENO_NO_UPDATE_CHECK: "1", PATH: `${dirname(process.execPath)}:${process.env.PATH}` };
	const { stdout, stderr } = await promisify(execFile)(program, given, { cwd, env, maxBuffer: 1 << 25 }).catch((error) => {
		throw new Error(`${program} ${given.join(" ")}: ${error.message}\n${error.stdout}\n${error.stderr}`);
	});
	return `${stdout}${stderr}`;
}

/** A program of the SDK's packages. */
export const program = (name) => `${sdk}node_modules/.bin/${name}`;

/** Packs the SDK's files in git, with the built Worker; returns the tarball. */
async function pack(folder) {
	const clone = join(folder, "clone");
	const tracked = (await run(checkout, "git", "ls-files", "--cached", "--others", "--exclude-standard", "sdk", "wrangler.toml", "LICENSE-MIT", "LICENSE-APACHE")).trim().split("\n");
	const wanted = tracked.filter((path) => !path.startsWith("sdk/rust/") && !path.startsWith("sdk/specs/"));
	await Promise.all(wanted.map((path) => cp(checkout + path, join(clone, path))));
	for (const path of ["build", "miniflare", "sdk/node_modules"]) await symlink(await realpath(checkout + path), join(clone, path));
	await run(join(clone, "sdk"), "npm", "pack", "--pack-destination", folder);
	const name = (await readdir(folder)).find((one) => one.endsWith(".tgz"));
	return join(folder, name);
}

/**
 * A folder of projects that have the package installed, and the packages that users bring. The caller disposes of it.
 */
export async function install() {
	// The real path, because it is in error messages and in source maps.
	const folder = await realpath(await mkdtemp(join(tmpdir(), "realtime-package-")));
	const tarball = await pack(folder);
	const home = join(folder, "home");
	await mkdir(home);
	await writeFile(join(home, "package.json"), '{ "name": "home", "private": true, "type": "module" }');
	await run(home, "npm", "install", "--offline", "--no-audit", "--no-fund", "--legacy-peer-deps", tarball);
	const brought = { [`${sdk}node_modules/`]: ["react", "react-dom", "drizzle-orm", "hono", "vue", "better-auth", "vite", "@types", "@cloudflare"], [`${checkout}miniflare/node_modules/`]: ["wrangler"] };
	for (const [from, names] of Object.entries(brought)) {
		for (const name of names) await symlink(await realpath(from + name), join(home, "node_modules", name));
	}
	return {
		tarball,
		/** The installed package. */
		installed: join(home, "node_modules/realtime-worker"),
		/** Creates a project from files by name; returns its folder. */
		async project(name, files) {
			const project = join(home, name);
			for (const [path, text] of Object.entries(files)) {
				await mkdir(dirname(join(project, path)), { recursive: true });
				await writeFile(join(project, path), text);
			}
			return project;
		},
		dispose: () => rm(folder, { recursive: true, force: true }),
	};
}

/**
 * The local Chromium, for specs of what runs in a browser.
 */
import { EventEmitter, once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/** Its paths on Debian and elsewhere. `CHROMIUM` names another one. */
const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"];
const SCREENSHOTS = fileURLToPath(new URL("../build/screenshots/", import.meta.url));

/** How long to wait for what the page should show; only a failing spec waits that long. */
export const PATIENCE = 30_000;

/** Starts it. The caller closes it. */
export async function launch() {
	const executablePath = process.env.CHROMIUM ?? PLACES.find((place) => existsSync(place));
	if (!executablePath) {
		throw new Error("These specs need Chromium: install it (Debian: apt-get install chromium), or say where it is in CHROMIUM.");
	}
	// Its sandbox does not start for root and in containers; the specs load only their own pages.
	return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

/**
 * A tab of its own, with storage of its own. What the page complains about is in `.complaints`.
 *
 * @param {import("playwright-core").Browser} browser
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function openTab(browser, options = {}) {
	const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: "reduce", ...options });
	context.setDefaultTimeout(PATIENCE);
	const page = await context.newPage();
	const complaints = [];
	page.on("console", (line) => ["error", "warning"].includes(line.type()) && complaints.push(line.text()));
	page.on("pageerror", (error) => complaints.push(String(error)));
	return Object.assign(page, { complaints });
}

/**
 * A window without Playwright's emulation, under which a page is always visible.
 *
 * @param {import("playwright-core").Browser} browser
 * @param {string} url
 */
export async function openWindow(browser, url) {
	const devTools = await browser.newBrowserCDPSession();
	const { targetId } = await devTools.send("Target.createTarget", { url: "about:blank", newWindow: true });
	const { sessionId } = await devTools.send("Target.attachToTarget", { targetId, flatten: false });
	const { windowId } = await devTools.send("Browser.getWindowForTarget", { targetId });
	const answers = new EventEmitter();
	devTools.on("Target.receivedMessageFromTarget", ({ message }) => {
		const { id, method, ...answer } = JSON.parse(message);
		answers.emit(id ?? method, answer);
	});
	let last = 0;
	const send = async (method, params = {}) => {
		const id = (last += 1);
		const answered = once(answers, id);
		await devTools.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id, method, params }) });
		const [{ result }] = await answered;
		return result;
	};
	const resize = (windowState) => devTools.send("Browser.setWindowBounds", { windowId, bounds: { windowState } });
	const loaded = once(answers, "Page.loadEventFired");
	await send("Page.enable");
	await send("Page.navigate", { url });
	await loaded;
	return {
		/** The value of an expression, awaited. */
		async evaluate(expression) {
			const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
			if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
			return result.value;
		},
		/** Hides the window, and so its page. */
		minimize: () => resize("minimized"),
		restore: () => resize("normal"),
	};
}

/** Closes every tab, and with them their connections. */
export async function closeTabs(browser) {
	for (const context of browser.contexts()) await context.close();
}

/** Saves a screenshot of a page among the build's artefacts. */
export async function keepPicture(page, name, options = {}) {
	mkdirSync(SCREENSHOTS, { recursive: true });
	await page.screenshot({ path: `${SCREENSHOTS}${name}.png`, ...options });
}

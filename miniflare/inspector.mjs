/**
 * The Inspector in a browser, for its specs.
 */
import { openTab } from "./browser.mjs";
import { ACCESS_TOKEN, tokenOf } from "./fixture.mjs";

/** The address with an admin's and a member's token, and the service token. */
export function address(server, tokens = {}) {
	const offered = { admin: tokenOf("ada", ["admin", "member"]), member: tokenOf("mel"), service: ACCESS_TOKEN, ...tokens };
	return `${server.url}/#${new URLSearchParams(offered)}`;
}

/**
 * A tab with the Inspector, both sides connected. `.sides` are the two panels.
 *
 * @param {import("playwright-core").Browser} browser
 * @param {object} server
 * @param {{tokens?: object} & import("playwright-core").BrowserContextOptions} [options]
 */
export async function openInspector(browser, server, { tokens, ...options } = {}) {
	const page = await openTab(browser, options);
	await page.goto(address(server, tokens));
	const sides = ["A", "B"].map((name) => page.getByRole("region", { name: `Connection ${name}` }));
	await show(page, "Connections");
	for (const side of sides) {
		await state(side, "connected");
		await openDetails(side);
	}
	await show(page, "Publish");
	await page.locator("#advanced > summary").click();
	await show(page, "Events");
	return Object.assign(page, { sides });
}

/** Shows a part of the page, if the screen is so small that one is shown at a time. */
export async function show(page, part) {
	const link = page.locator("#parts").getByRole("link", { name: part });
	if (await link.isVisible()) await link.click();
}

/** Expands a side. */
export async function openDetails(side) {
	const toggle = side.getByRole("button", { name: "Details" });
	if ((await toggle.getAttribute("aria-expanded")) === "false") await toggle.click();
}

/** Waits until a side shows this state. */
export function state(side, text) {
	return side.locator(".state", { hasText: text }).waitFor();
}

/** The value that a side shows under a name, such as `roles`. */
export async function fact(side, name) {
	await openDetails(side);
	return side.locator(".facts > div", { has: side.page().locator("dt", { hasText: new RegExp(`^${name}$`) }) }).locator("dd").innerText();
}

/** Opens a part of a side, such as `Subscriptions`, and returns it. */
export async function openPart(side, name) {
	await openDetails(side);
	const part = side.locator("details", { has: side.page().locator("summary", { hasText: name }) });
	if ((await part.getAttribute("open")) === null) await part.locator("summary").click();
	return part;
}

/** Opens a side's diagnosis, and returns the list. */
export async function openFindings(side) {
	return (await openPart(side, "Why do I get nothing?")).locator(".findings");
}

/**
 * The newest event of the comparison that is about this: its cells, by column, as `[A, B]`. A side has "not received" until the
 * event comes there, so an event that is for both is waited for at both.
 */
export async function compared(page, title, { isForBoth = true } = {}) {
	const card = page.locator("#events > li", { hasText: title }).first();
	await card.waitFor();
	if (isForBoth) await card.getByText("not received").waitFor({ state: "detached" });
	return card.locator("tbody tr").evaluateAll((rows) => {
		const cellsOf = (row) => [...row.querySelectorAll("td")].map((cell) => cell.innerText.trim().replace(/\s+/g, " "));
		return Object.fromEntries(rows.map((row) => [row.querySelector("th").innerText.trim().replace(/\s+/g, " "), cellsOf(row)]));
	});
}

/** Waits until every side has this many events. */
export async function events(page, count) {
	for (const side of page.sides) await side.locator(".facts > div", { hasText: new RegExp(`^events\\s*${count}$`) }).waitFor({ state: "attached" });
}

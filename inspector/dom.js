/**
 * Elements. Everything from the network becomes text here, never markup.
 */

/**
 * An element.
 *
 * @param {string} name
 * @param {Record<string, unknown>} attributes functions become listeners, `false` and `undefined` leave an attribute out
 * @param {...(Node | string | number | null | undefined | false)} children
 */
export function element(name, attributes = {}, ...children) {
	return fill(document.createElement(name), attributes, children);
}

/** An element of a drawing. */
export function shape(name, attributes = {}, ...children) {
	return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(created, attributes, children) {
	for (const [name, value] of Object.entries(attributes)) {
		if (typeof value === "function") created.addEventListener(name.replace(/^on/, ""), value);
		else if (value !== undefined && value !== false) created.setAttribute(name, value === true ? "" : value);
	}
	created.append(...children.filter(isThere).map((child) => (child instanceof Node ? child : String(child))));
	return created;
}

const isThere = (child) => child !== null && child !== undefined && child !== false;

/** Sets an element's children, unless they are the same already, so that a selection in them survives. */
export function refill(parent, children) {
	const isSame = children.length === parent.children.length && children.every((child, index) => child.isEqualNode(parent.children[index]));
	if (!isSame) parent.replaceChildren(...children);
}

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** The parts of an element, by their `data-part`. */
export function partsOf(root) {
	return Object.fromEntries([...root.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
}

/** A copy of a `<template>`'s content. */
export function copyOf(templateId) {
	return byId(templateId).content.firstElementChild.cloneNode(true);
}

/** A list of names and values, `[name, value][]`; values are texts or elements. */
export function facts(entries) {
	return entries.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
}

/** The connection that something belongs to: its letter, for those who cannot see its colour. */
export function badge(side) {
	return element("span", { class: "badge", "data-side": side }, side);
}

/** Calls back once before the next frame is drawn, however often it is called. */
export function oncePerPicture(callback) {
	let isDue = false;
	return () => {
		if (isDue) return;
		isDue = true;
		requestAnimationFrame(() => {
			isDue = false;
			callback();
		});
	};
}

/** How long ago something was, or when it will be, with the exact time on hover. It updates itself while it is shown. */
export function ago(time) {
	const date = new Date(time).toLocaleDateString("en-GB");
	return element("time", { "data-time": time, title: `${date} ${timeOf(time)}` }, agoOf(time));
}

const agoOf = (time) => {
	const seconds = Math.round((Date.now() - time) / 1_000);
	if (seconds < 0) return `in ${spanOf(-seconds)}`;
	return seconds < 5 ? "just now" : `${spanOf(seconds)} ago`;
};

function spanOf(seconds) {
	const [size, unit] = [[86_400, "d"], [3_600, "h"], [60, "min"]].find(([size]) => seconds >= size) ?? [1, "s"];
	return `${Math.floor(seconds / size)} ${unit}`;
}

setInterval(() => {
	if (document.visibilityState !== "visible") return;
	for (const shown of document.querySelectorAll("time[data-time]")) shown.textContent = agoOf(Number(shown.dataset.time));
}, 5_000);

/** The time of day, with milliseconds. */
export function timeOf(time) {
	const at = new Date(time);
	return `${at.toLocaleTimeString("en-GB")}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/** Tells the user what has happened, in the status line, which is also read out. */
export function tell(text) {
	byId("notice").textContent = text;
	clearTimeout(tell.timer);
	tell.timer = setTimeout(() => (byId("notice").textContent = ""), 6_000);
}

/** Copies a text to the clipboard, if the browser lets a page do that. */
export async function copy(text, what) {
	try {
		await navigator.clipboard.writeText(text);
		tell(`Copied ${what}.`);
	} catch {
		tell("The browser does not let this page copy: select the text.");
	}
}

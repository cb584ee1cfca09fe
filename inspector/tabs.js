/**
 * Tabs: arrow keys move between them, and only the selected one is in the Tab order.
 */

/** On a small screen, one part of the page is shown at a time: the one whose link was chosen, initially the events. */
export function makeParts(nav) {
	const links = [...nav.querySelectorAll("a")];
	const choose = (chosen) => {
		document.body.dataset.part = chosen.hash.slice(1);
		for (const link of links) link.toggleAttribute("aria-current", link === chosen);
	};
	for (const link of links) link.addEventListener("click", () => choose(link));
	choose(links[0]);
}

/** Creates tabs from a `role="tablist"` whose buttons have `aria-controls`. */
export function makeTabs(list) {
	const tabs = [...list.querySelectorAll('[role="tab"]')];
	const choose = (chosen) => {
		for (const tab of tabs) {
			const isChosen = tab === chosen;
			tab.setAttribute("aria-selected", isChosen);
			tab.tabIndex = isChosen ? 0 : -1;
			document.getElementById(tab.getAttribute("aria-controls")).hidden = !isChosen;
		}
	};
	for (const tab of tabs) tab.addEventListener("click", () => choose(tab));
	list.addEventListener("keydown", (event) => {
		const at = tabs.indexOf(document.activeElement);
		const goals = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tabs.length - 1 };
		if (at < 0 || !(event.key in goals)) return;
		event.preventDefault();
		const goal = tabs.at(goals[event.key] % tabs.length);
		choose(goal);
		goal.focus();
	});
	choose(tabs[0]);
}

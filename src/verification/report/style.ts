/** How the page looks. Colours are never the only sign: bars differ by their outline and say what they are. */
import { html, type Markup } from './markup.ts'

export const style: Markup = html`<style>
:root {
  color-scheme: light dark;
  --page: #ffffff; --panel: #f5f6f8; --text: #1b1f24; --soft: #57606a; --line: #d5d9df; --link: #0550ae;
  --good: #1a7f37; --good-fill: #dcf5e3; --bad: #b42318; --bad-fill: #ffe4e0;
  --unsure: #8a5d00; --unsure-fill: #fff1cf; --run: #0550ae; --run-fill: #dfeeff; --rest: #57606a; --rest-fill: #eceef1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11151a; --panel: #1a2027; --text: #e6eaef; --soft: #9ea8b3; --line: #353d47; --link: #79b8ff;
    --good: #56d279; --good-fill: #12351d; --bad: #ff8177; --bad-fill: #451a17;
    --unsure: #e8b64c; --unsure-fill: #3a2c0a; --run: #79b8ff; --run-fill: #12294a; --rest: #9ea8b3; --rest-fill: #262d35;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 24px 20px 64px; max-width: 1160px; overflow-wrap: anywhere;
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', sans-serif; background: var(--page); color: var(--text);
}
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 12px; }
h2 { font-size: 19px; line-height: 1.3; margin: 0 0 10px; }
h3 { font-size: 15px; margin: 22px 0 8px; }
p { margin: 8px 0; }
a { color: var(--link); }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.run { margin-top: 40px; padding-top: 24px; border-top: 1px solid var(--line); }
.verdict { padding: 10px 14px; border: 1px solid; border-left-width: 6px; border-radius: 6px; font-weight: 600; }
.verdict.kept { color: var(--good); background: var(--good-fill); }
.verdict.broken { color: var(--bad); background: var(--bad-fill); border-left-style: double; }
.runs { padding-left: 26px; margin: 12px 0; }
.runs li { margin: 4px 0; }
.runs .kept { color: var(--good); }
.runs .broken { color: var(--bad); font-weight: 600; }
.soft { color: var(--soft); }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); grid-auto-flow: dense; gap: 8px; margin: 14px 0; }
.figures div { padding: 8px 12px; background: var(--panel); border: 1px solid var(--line); border-radius: 6px; }
.figures div.wide { grid-column: span 2; }
.figures div.broken { border-color: var(--bad); background: var(--bad-fill); }
.figures dt { color: var(--soft); font-size: 13px; line-height: 1.35; }
.figures dd { margin: 0; font-size: 13px; line-height: 1.4; font-variant-numeric: tabular-nums; }
.figures dd strong { font-size: 20px; font-weight: 600; display: block; line-height: 1.4; }
.violations { padding-left: 20px; margin: 6px 0; }
.violations li { margin: 3px 0; }
code { font: 13px/1.5 ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; }
details { margin: 8px 0; border: 1px solid var(--line); border-radius: 6px; background: var(--page); }
details > summary { padding: 9px 14px; cursor: pointer; background: var(--panel); border-radius: 6px; }
details[open] > summary { border-bottom: 1px solid var(--line); border-radius: 6px 6px 0 0; }
summary strong { font-weight: 600; }
summary .broken { color: var(--bad); }
.inside { padding: 4px 14px 14px; }
.legend { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 4px 16px; padding: 0; margin: 8px 0; list-style: none; }
.legend li { display: flex; gap: 8px; line-height: 1.35; }
.legend svg { flex: none; margin-top: 2px; }
figure { margin: 12px 0; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 6px; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
.chart { display: flex; width: max-content; min-width: 100%; }
.chart svg { display: block; flex: 1 0 auto; overflow: hidden; }
.chart .names { flex: none; z-index: 1; position: sticky; left: 0; background: var(--panel); border-right: 1px solid var(--line); }
svg text { font: 11px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: var(--text); }
svg .beside { paint-order: stroke; stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; }
svg .lane-name { font-weight: 600; }
svg .tick { fill: var(--soft); }
svg path { fill: none; }
svg .border { stroke: var(--line); }
svg .grid { stroke: var(--line); stroke-dasharray: 1 3; }
svg .quiet { stroke: var(--soft); stroke-dasharray: 6 3; }
svg .gap { stroke: var(--line); stroke-width: 12; stroke-dasharray: 3 2; }
svg rect { stroke-width: 1.2; }
.ok rect, .completed rect { fill: var(--good-fill); stroke: var(--good); }
.fail rect { fill: var(--bad-fill); stroke: var(--bad); stroke-width: 2.5; }
.info rect, .unknown rect { fill: var(--unsure-fill); stroke: var(--unsure); stroke-dasharray: 5 3; }
.open rect, .released rect, .absent rect, .tombstone rect { fill: var(--rest-fill); stroke: var(--rest); stroke-dasharray: 1.5 2; }
.running rect { fill: var(--run-fill); stroke: var(--run); }
.mark.start, .mark.stop { fill: var(--text); }
.mark.claim { fill: var(--soft); }
.mark.asked, .mark.renewed { stroke: var(--text); stroke-width: 1.5; }
.mark.effect { fill: var(--run); }
.mark.fault { stroke: var(--bad); stroke-width: 2.2; }
.mark.note { stroke: var(--soft); stroke-width: 2; }
.events { width: 100%; border-collapse: collapse; font-size: 13px; }
.events caption { text-align: left; font-weight: 600; padding: 6px 0; }
.events th, .events td { padding: 4px 10px 4px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
.events th { color: var(--soft); font-weight: 600; }
.events .time { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.events .who { min-width: 64px; max-width: 180px; }
.events .fault td:last-child, .events .fail td:last-child { color: var(--bad); }
.events .effect td:last-child { font-weight: 600; }
@media (max-width: 560px) {
  body { padding: 16px 12px 48px; }
  .inside { padding: 4px 10px 10px; }
  .figures { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@media print {
  .scroll { overflow: visible; }
}
</style>`

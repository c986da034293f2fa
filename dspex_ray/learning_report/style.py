"""How the learning report looks: on a wide and a narrow screen, in the dark, and on paper."""

STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem}
h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.2rem;margin-top:2.2rem}h3{font-size:1rem;margin-bottom:.3rem}
table{border-collapse:collapse}
th,td{border-bottom:1px solid #8884;padding:.35rem .6rem;text-align:left;vertical-align:top}
td,.text,details{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate}
th{overflow-wrap:normal}th.n{text-align:right}
td.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;margin:.5rem 0}.scroll td:not(.n){min-width:8rem}
.small{opacity:.75}.warning{border-left:4px solid #c80;padding-left:.6rem}
summary{cursor:pointer}
ins{background:#2a45;text-decoration:none}del{background:#d335}
svg{display:block;width:100%;max-width:46rem;height:auto}
svg text{font-size:12px;fill:currentColor}.band{fill:#4878b0;opacity:.25}.best{fill:none;stroke:#4878b0;stroke-width:2}
.dot{fill:#4878b0}.other{fill:#8888}.chosen{fill:none;stroke:#c80;stroke-width:2}
.base{stroke:#c80;stroke-dasharray:4 4}.grid{stroke:#8884}
@media (max-width:40rem){body{margin:1rem auto}th,td{padding:.3rem .4rem}svg text{font-size:17px}}
@media print{body{margin:0;max-width:none;font-size:11px}.scroll{overflow:visible}tr,svg{break-inside:avoid}
h2,h3{break-after:avoid}details::details-content{content-visibility:visible;height:auto}}
"""

"""The page's style and its few lines of script. Both schemes keep a contrast of 4.5 to 1 for text."""

from __future__ import annotations

__all__ = ["SCRIPT", "STYLE"]

STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--line:#d5d9e0;--text:#1b2330;--dim:#586274;--link:#1556c0;
--good:#1a7f4b;--fair:#8a5a00;--poor:#c02626;--label:#ffffffee}
@media(prefers-color-scheme:dark){:root{--page:#12161d;--card:#1a2029;--line:#353e4c;--text:#e6eaf0;--dim:#9aa5b5;
--link:#82b4ff;--good:#4fc487;--fair:#e0aa3e;--poor:#ff7b72;--label:#1a2029ee}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,sans-serif}
a{color:var(--link)}
header{display:flex;flex-wrap:wrap;gap:4px 20px;align-items:baseline;padding:14px 20px;
border-bottom:1px solid var(--line);background:var(--card)}
header h1{margin:0;font-size:18px}header h1 a{color:inherit;text-decoration:none}
header nav{display:flex;flex-wrap:wrap;gap:4px 14px}header .dim{margin-left:auto}
main{padding:16px 20px;max-width:1800px;margin:auto;display:grid;gap:16px;grid-template-columns:minmax(0,1fr)}
section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px 16px;min-width:0}
h2{margin:0 0 8px;font-size:15px}h2 .dim{font-weight:400}
.dim{color:var(--dim)}.good{color:var(--good)}.fair{color:var(--fair)}.poor{color:var(--poor)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(132px,1fr));gap:12px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.tile b{display:block;font-size:22px;line-height:1.3;font-variant-numeric:tabular-nums}
.scroll{overflow:auto;max-height:75vh}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:5px 14px 5px 0;border-bottom:1px solid var(--line);white-space:nowrap;vertical-align:top}
th{color:var(--dim);font-weight:500;position:sticky;top:0;background:var(--card)}
td.num,th.num{text-align:right}td.long{white-space:normal;min-width:260px;overflow-wrap:anywhere}
tr:last-child td{border-bottom:0}
form{display:flex;flex-wrap:wrap;gap:8px;margin:0 0 10px}
input,select,button{font:inherit;color:inherit;background:var(--page);border:1px solid var(--line);border-radius:6px;
padding:4px 8px;max-width:100%}
svg.graph{display:block;min-width:min-content}
svg text{font:12px system-ui,sans-serif;fill:var(--text)}svg text.dim{fill:var(--dim);font-size:11px}
svg .node rect{fill:var(--page);stroke:currentColor;stroke-width:1.5}
svg a{text-decoration:none}svg a:hover rect,svg a:focus rect{stroke-width:3}
svg .edge{fill:none;stroke:currentColor;opacity:.85}svg .edge.open{stroke-dasharray:6 4}
svg marker path{fill:var(--dim)}
svg .label rect{fill:var(--label);stroke:none}svg .label text{text-anchor:middle;font-size:11px}
svg .lock{fill:none;stroke:var(--good);stroke-width:1.4}
svg.waterfall{display:block}svg .tick{stroke:var(--line)}svg.mini{vertical-align:middle}svg .bar.client{opacity:.6}
svg .bar.fair{fill:var(--fair)}
svg .bar{fill:var(--link)}svg .bar.poor{fill:var(--poor)}
"""

SCRIPT = """
(function(){
 async function look(){
  if(!document.hidden&&!document.activeElement.matches('input,select')){
   try{
    const reply=await fetch(location.href,{headers:{accept:'text/html'}});
    if(reply.status>=500)throw reply.status;
    if(reply.ok){
     const fresh=new DOMParser().parseFromString(await reply.text(),'text/html');
     for(const old of document.querySelectorAll('[data-live]')){
      const next=fresh.getElementById(old.id);
      if(next&&next.innerHTML!==old.innerHTML){
       const box=old.querySelector('.scroll'),at=box?[box.scrollLeft,box.scrollTop]:[0,0];
       old.innerHTML=next.innerHTML;
       const again=old.querySelector('.scroll');if(again){again.scrollLeft=at[0];again.scrollTop=at[1];}
      }
     }
    }
   }catch(problem){document.getElementById('when').textContent='the control plane does not answer';}
  }
  setTimeout(look,5000);
 }
 setTimeout(look,5000);
})();
"""

// What the page says about itself, in every language: loaded with the view that says it.
import type { Tag } from "./language.ts";

export interface AboutWords {
  aboutLead: string;
  aboutValues: string;
  aboutValuesText: string;
  aboutFlags: string;
  aboutCategory: string;
  aboutCategoryText: string;
  aboutData: string;
  aboutDataText: string;
  apiDocumentation: string;
}

export const ABOUT: Record<Tag, AboutWords> = {
  en: {
    aboutLead: "This page shows what the network’s sensors measure, as soon as it arrives and just as it was sent.",
    aboutValues: "Values",
    aboutValuesText:
      "Values are raw: never altered, smoothed or corrected. PM2.5 is the sensor’s atmospheric value. Low-cost sensors differ from reference instruments, most of all in humid air and in coarse dust.",
    aboutFlags: "Quality flags",
    aboutCategory: "Category",
    aboutCategoryText:
      "The category belongs to the hourly NowCast of PM2.5 (US EPA, breakpoints of May 2024), never to a single value. It appears once two of the last three hours have data.",
    aboutData: "Data",
    aboutDataText: "Everything on this page comes from the hub’s open interface.",
    apiDocumentation: "Interface documentation",
  },
  fr: {
    aboutLead: "Cette page montre ce que mesurent les capteurs du réseau, dès l’arrivée et tel que cela a été envoyé.",
    aboutValues: "Valeurs",
    aboutValuesText:
      "Les valeurs sont brutes : jamais modifiées, lissées ni corrigées. PM2,5 est la valeur atmosphérique du capteur. Les capteurs à bas coût s’écartent des instruments de référence, surtout en air humide et en présence de poussières grossières.",
    aboutFlags: "Indicateurs de qualité",
    aboutCategory: "Catégorie",
    aboutCategoryText:
      "La catégorie est celle du NowCast horaire des PM2,5 (US EPA, seuils de mai 2024), jamais celle d’une valeur isolée. Elle apparaît dès que deux des trois dernières heures ont des données.",
    aboutData: "Données",
    aboutDataText: "Tout ce que montre cette page vient de l’interface ouverte du serveur.",
    apiDocumentation: "Documentation de l’interface",
  },
};
